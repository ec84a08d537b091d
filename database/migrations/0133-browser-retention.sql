-- Evidence of browser sessions goes after a time, and what was left by runs that were ended from outside.

-- A picture may be that of several steps: it goes with the last.
create index browser_steps_picture on browser_steps (org_id, picture) where picture is not null;
create index browser_sessions_open on browser_sessions (created_at) where state = 'open';
