-- What a model proposed for steps in words, so that it is asked once: a worker that takes the session up reads it here.

create table browser_proposals (
  org_id uuid not null,
  session_id uuid not null,
  -- The execution of the step, and the round within it.
  key text not null,
  -- Blob of the steps that were proposed; sealed, since they name what the page shows. Deleted with the row when the session ends.
  proposal text not null,
  proposed_at timestamptz not null default now(),
  primary key (org_id, session_id, key),
  foreign key (org_id, session_id) references browser_sessions on delete cascade
);
call hal9_guard('browser_proposals', 'select', 'insert', 'delete');
call hal9_system_access('browser_proposals', 'select', 'delete');
