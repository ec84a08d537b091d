-- The directory: what roles reach, what teams share, whose keys are whose, and owners that cannot all go (docs/decisions/0100-0103).

alter table organisations
  -- True once it has had an owner; from then on it always has one.
  add column owned boolean not null default false;
grant update on organisations to hal9_system;

alter table roles
  -- Whether who has this role also has it in the organisations below.
  add column reaches_descendants boolean not null default false;

-- One resource given to a team: `read`, or `write` which includes it. Becomes a scope narrowed to the resource's id.
create table team_shares (
  org_id uuid not null,
  team_id uuid not null,
  -- Resource of a permission, e.g. `connections`.
  resource_kind text not null check (resource_kind ~ '^[a-z][a-z0-9-]*$'),
  resource_id text not null check (resource_id ~ '^[A-Za-z0-9._~-]{1,200}$'),
  access text not null check (access in ('read', 'write')),
  created_at timestamptz not null default now(),
  primary key (org_id, team_id, resource_kind, resource_id),
  foreign key (org_id, team_id) references teams on delete cascade
);
call hal9_guard('team_shares', 'select', 'insert', 'update', 'delete');
call hal9_system_access('team_shares', 'select');

alter table api_keys
  -- Whose key it is: it stops with its person. The person's own organisation differs from the key's when they came from above.
  add column created_by_org uuid,
  add column created_by_user uuid,
  add foreign key (created_by_org, created_by_user) references users (org_id, id) on delete cascade,
  add check ((created_by_org is null) = (created_by_user is null));
create index api_keys_by_creator on api_keys (created_by_org, created_by_user) where created_by_user is not null;

-- How many active people are owners without any condition, by themselves or through a team or its ancestors.
create function hal9_owners(organisation uuid) returns bigint language sql stable as $$
  with recursive owning as (
    select team_id from role_bindings where org_id = organisation and role = 'owner' and conditions = '{}' and team_id is not null
    union
    select t.id from owning o join teams t on t.org_id = organisation and t.parent_id = o.team_id
  )
  select count(*) from users u
  where u.org_id = organisation and u.active
    and (exists (select from role_bindings b where b.org_id = organisation and b.user_id = u.id and b.role = 'owner' and b.conditions = '{}')
      or exists (select from team_members m join owning o on o.team_id = m.team_id where m.org_id = organisation and m.user_id = u.id))
$$;

-- Runs when the transaction commits, whoever changed the rows. The organisation's row is the lock: of two who remove the last two
-- owners at once the second sees what the first did.
create function hal9_keep_owner() returns trigger language plpgsql as $$
declare
  organisation uuid;
  was_owned boolean;
begin
  organisation := case when tg_op = 'DELETE' then old.org_id else new.org_id end;
  -- Teams and members matter only where a team owns; everywhere else they need no lock.
  if tg_table_name in ('teams', 'team_members')
    and not exists (select from role_bindings where org_id = organisation and role = 'owner' and team_id is not null) then
    return null;
  end if;
  select owned into was_owned from organisations where org_id = organisation for no key update;
  if not found then
    return null;
  end if;
  if hal9_owners(organisation) > 0 then
    if not was_owned then
      update organisations set owned = true where org_id = organisation;
    end if;
  elsif was_owned then
    raise exception 'the organisation would have no owner' using errcode = 'check_violation', constraint = 'last_owner';
  end if;
  return null;
end
$$;

create constraint trigger keep_owner_given after insert on role_bindings deferrable initially deferred
  for each row when (new.role = 'owner') execute function hal9_keep_owner();
create constraint trigger keep_owner_changed after update on role_bindings deferrable initially deferred
  for each row when (old.role = 'owner' or new.role = 'owner') execute function hal9_keep_owner();
create constraint trigger keep_owner_taken after delete on role_bindings deferrable initially deferred
  for each row when (old.role = 'owner') execute function hal9_keep_owner();
create constraint trigger keep_owner_active after update of active on users deferrable initially deferred
  for each row when (old.active <> new.active) execute function hal9_keep_owner();
create constraint trigger keep_owner_user after delete on users deferrable initially deferred
  for each row execute function hal9_keep_owner();
create constraint trigger keep_owner_member after insert or delete on team_members deferrable initially deferred
  for each row execute function hal9_keep_owner();
create constraint trigger keep_owner_team after update of parent_id on teams deferrable initially deferred
  for each row execute function hal9_keep_owner();
create constraint trigger keep_owner_team_gone after delete on teams deferrable initially deferred
  for each row execute function hal9_keep_owner();
