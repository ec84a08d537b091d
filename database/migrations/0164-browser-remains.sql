-- Sessions that ended and still hold a login: whoever ended them was cut off, and somebody deletes it after them.
create index browser_sessions_remains on browser_sessions (closed_at) where state <> 'open' and checkpoint is not null;
