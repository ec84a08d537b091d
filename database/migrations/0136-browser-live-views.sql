-- What a page shows while somebody looks at it, and what they do to it; between an API and a worker that need not know each other. Gone when nobody looks.

-- The right to look, and to act while the session waits for a person.
create table browser_live_views (
  org_id uuid not null,
  session_id uuid not null,
  id uuid not null,
  opened_at timestamptz not null default now(),
  expires_at timestamptz not null,
  -- When the viewer last asked for a picture.
  seen_at timestamptz,
  primary key (org_id, session_id, id),
  foreign key (org_id, session_id) references browser_sessions on delete cascade
);
call hal9_guard('browser_live_views', 'select', 'insert', 'update', 'delete');
call hal9_system_access('browser_live_views', 'select', 'delete');

-- The newest picture, sealed.
create table browser_live_frames (
  org_id uuid not null,
  session_id uuid not null,
  seq bigint not null,
  picture bytea not null,
  width integer not null,
  height integer not null,
  -- Whether what a viewer does reaches the page.
  attended boolean not null,
  primary key (org_id, session_id),
  foreign key (org_id, session_id) references browser_sessions on delete cascade
);
call hal9_guard('browser_live_frames', 'select', 'insert', 'update', 'delete');
call hal9_system_access('browser_live_frames', 'select', 'delete');

-- Mouse and keys on their way to the page, sealed: people type passwords.
create table browser_live_inputs (
  org_id uuid not null,
  session_id uuid not null,
  seq bigint not null generated always as identity,
  events bytea not null,
  primary key (org_id, session_id, seq),
  foreign key (org_id, session_id) references browser_sessions on delete cascade
);
call hal9_guard('browser_live_inputs', 'select', 'insert', 'delete');
call hal9_system_access('browser_live_inputs', 'select', 'delete');
