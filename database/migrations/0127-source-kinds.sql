-- Sources that are no database, and what people do by hand where there is no API.
alter table privacy_sources drop constraint privacy_sources_kind_check;
alter table privacy_sources add constraint privacy_sources_kind_check check (kind in ('postgres', 'redis', 's3', 'http', 'manual'));

create table privacy_tasks (
  org_id uuid not null references organisations,
  id uuid not null,
  -- The erasure that it is a part of.
  erasure_id uuid not null,
  source text not null,
  name text not null check (length(name) between 1 and 200),
  instructions text not null check (length(instructions) between 1 and 2000),
  state text not null check (state in ('open', 'taken', 'done', 'refused')),
  -- Who it is about; gone when it is done.
  sealed bytea,
  due_at timestamptz not null,
  taken_by text,
  -- In the words of whoever did it, or refused it; without personal data.
  note text check (length(note) <= 500),
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  primary key (org_id, id),
  unique (org_id, erasure_id, source, name),
  foreign key (org_id, erasure_id) references erasures
);
create index privacy_tasks_by_time on privacy_tasks (org_id, created_at desc, id);
call hal9_guard('privacy_tasks', 'select', 'insert', 'update');
