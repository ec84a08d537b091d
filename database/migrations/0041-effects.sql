-- What became of a decision's effect, in words.
alter table decisions add column effect_failure text;
-- Milliseconds, as a page's cursor carries it.
alter table decisions alter column created_at set default date_trunc('milliseconds', now());
-- A trace asks for the dead letters of its signals and emissions.
create index dead_letters_by_ref on dead_letters (org_id, ref);
