-- What interactive browser sessions answered to each turn, so that a turn that is asked for again is not taken again.

create table browser_answers (
  org_id uuid not null,
  session_id uuid not null,
  turn_id uuid not null,
  -- {type, message}, or null when the step was taken.
  failure jsonb,
  -- Blob with what the page showed; sealed. Deleted with the row when the session ends.
  answer text not null,
  -- Number of the first step that a restart needs again.
  needed integer not null,
  answered_at timestamptz not null default now(),
  primary key (org_id, session_id, turn_id),
  foreign key (org_id, session_id) references browser_sessions on delete cascade
);
call hal9_guard('browser_answers', 'select', 'insert', 'delete');
call hal9_system_access('browser_answers', 'select', 'delete');
