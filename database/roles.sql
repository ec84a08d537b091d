-- Group roles of the cluster. hal9_app is what requests and activities run as: row-level security applies to it.
-- hal9_system is for named cross-organisation background work; it sees only the tables that grant it a policy.
do $$
begin
  if not exists (select from pg_roles where rolname = 'hal9_app') then
    create role hal9_app nologin nosuperuser nobypassrls;
  end if;
  if not exists (select from pg_roles where rolname = 'hal9_system') then
    create role hal9_system nologin nosuperuser nobypassrls;
  end if;
exception when duplicate_object or unique_violation then
  null; -- another stack on this cluster was quicker
end
$$;
grant hal9_app, hal9_system to current_user;
grant usage on schema public to hal9_app, hal9_system;
