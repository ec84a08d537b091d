-- How long browsers worked on a session, written with what they did; whole seconds of it are uses of the meter `browser-seconds`.
alter table browser_sessions add column worked_ms integer not null default 0;
alter table browser_sessions add column metered_seconds integer not null default 0;
