-- What an organisation may use: a plan, and what was agreed with it besides. Set by the platform's organisation only.
create table organisation_plans (
  org_id uuid primary key references organisations,
  plan text not null check (plan in ('free', 'starter', 'professional', 'enterprise')),
  -- `{"quotas": {"signals": {"soft": 1, "hard": 2}}, "limits": {"seats": 5}}`; what is left out is the plan's.
  overrides jsonb not null default '{}',
  -- Effective limits of what the triggers below count; null for none.
  seats integer,
  api_keys integer,
  updated_at timestamptz not null default now(),
  -- Kind and id of who set it; `default` for the installation's own default.
  updated_by text not null
);
call hal9_guard('organisation_plans', 'select');
call hal9_system_access('organisation_plans', 'select', 'insert', 'update');

-- Each quota is told once a month.
create table usage_alerts (
  org_id uuid not null references organisations,
  meter text not null,
  month date not null,
  level text not null check (level in ('soft', 'hard')),
  at timestamptz not null default now(),
  primary key (org_id, meter, month, level)
);
call hal9_guard('usage_alerts', 'select');
call hal9_system_access('usage_alerts', 'select', 'insert');

-- Seats and keys come in by many doors (invitations, SCIM, sign-ins, rotation): the limit is checked where they all end. Writers of
-- one organisation that has a limit wait for each other, so that two at once cannot both take the last place.
create function hal9_seat_left() returns trigger language plpgsql as $$
declare
  allowed integer;
begin
  if not new.active or (tg_op = 'UPDATE' and old.active) then return new; end if;
  select seats into allowed from organisation_plans where org_id = new.org_id;
  if allowed is null then return new; end if;
  perform pg_advisory_xact_lock(hashtextextended('hal9 seats ' || new.org_id, 0));
  if (select count(*) from users where org_id = new.org_id and active) >= allowed then
    raise exception 'the plan has % seats and all are taken', allowed using errcode = 'HQ402';
  end if;
  return new;
end
$$;
create trigger users_seat before insert or update of active on users for each row execute function hal9_seat_left();

-- A key that ends within a day, such as one that was rotated, makes room already.
create function hal9_key_left() returns trigger language plpgsql as $$
declare
  allowed integer;
begin
  select api_keys into allowed from organisation_plans where org_id = new.org_id;
  if allowed is null then return new; end if;
  perform pg_advisory_xact_lock(hashtextextended('hal9 keys ' || new.org_id, 0));
  if (select count(*) from api_keys where org_id = new.org_id and revoked_at is null and (expires_at is null or expires_at > now() + interval '1 day')) >= allowed then
    raise exception 'the plan has % API keys and all are taken', allowed using errcode = 'HQ402';
  end if;
  return new;
end
$$;
create trigger api_keys_room before insert on api_keys for each row execute function hal9_key_left();
