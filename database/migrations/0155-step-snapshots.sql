-- Blob of the page in words (roles, names, texts) after a step; sealed. It begins with the session, so that it is of no other one, and goes with it.
alter table browser_steps add column snapshot text;
