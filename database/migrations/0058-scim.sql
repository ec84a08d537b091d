-- Provisioning by SCIM 2.0 (docs/decisions/0134): what a client says of a person beyond what HAL9 itself uses, so that it gets back
-- what it wrote: parts of the name, e-mail addresses, title and place in the company. Nothing else of a person is kept.
create table scim_users (
  org_id uuid not null,
  user_id uuid not null,
  -- Shape: `scimExtras` in schemas/rest/scim.ts.
  attributes jsonb not null default '{}',
  primary key (org_id, user_id),
  foreign key (org_id, user_id) references users on delete cascade
);
call hal9_guard('scim_users', 'select', 'insert', 'update', 'delete');

-- Whether a person is an owner, by themselves or through a team or its ancestors, under whatever condition.
create function hal9_is_owner(organisation uuid, person uuid) returns boolean language sql stable as $$
  with recursive owning as (
    select team_id from role_bindings where org_id = organisation and role = 'owner' and team_id is not null
    union
    select t.id from owning o join teams t on t.org_id = organisation and t.parent_id = o.team_id
  )
  select exists (select from role_bindings where org_id = organisation and user_id = person and role = 'owner')
    or exists (select from team_members m join owning o on o.team_id = m.team_id where m.org_id = organisation and m.user_id = person)
$$;

-- Whether the members of a team are owners.
create function hal9_team_owns(organisation uuid, team uuid) returns boolean language sql stable as $$
  with recursive line as (
    select id, parent_id from teams where org_id = organisation and id = team
    union
    select t.id, t.parent_id from line l join teams t on t.org_id = organisation and t.id = l.parent_id
  )
  select exists (select from role_bindings b join line l on l.id = b.team_id where b.org_id = organisation and b.role = 'owner')
$$;
