-- How HAL9's parts are. Rows of the platform itself carry the nil UUID: no organisation has it, so the application role
-- never sees them; the API reads them as hal9_system for callers with the permission health:read.
create table health_components (
  org_id uuid not null,
  name text not null,
  kind text not null,
  -- As reported by the component or its supervisor; effects of sick dependencies are worked out on reading.
  state text not null check (state in ('healthy', 'degraded', 'unhealthy')),
  detail text not null,
  depends_on text[] not null default '{}',
  since timestamptz not null,
  reported_at timestamptz not null default now(),
  -- Seconds after which silence means trouble.
  stale_seconds integer not null check (stale_seconds > 0),
  primary key (org_id, name)
);
call hal9_guard('health_components', 'select', 'insert', 'update', 'delete');
call hal9_system_access('health_components', 'select', 'insert', 'update', 'delete');

-- What HAL9 did to get a part back.
create table health_recoveries (
  org_id uuid not null,
  id uuid not null,
  component text not null,
  action text not null,
  reason text not null,
  outcome text not null check (outcome in ('succeeded', 'failed')),
  started_at timestamptz not null,
  ended_at timestamptz not null,
  primary key (org_id, id)
);
create index health_recoveries_by_time on health_recoveries (org_id, started_at desc);
call hal9_guard('health_recoveries', 'select', 'insert');
call hal9_system_access('health_recoveries', 'select', 'insert', 'delete');
