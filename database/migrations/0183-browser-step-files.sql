-- Files that a step handed to a page or took from it: [{direction, name, bytes, sha256, mediaType, blob}]. The blob of what was handed over (`up`) begins with the
-- session, so that it is of no other one, and goes with it; what was taken (`down`) is a result of the run, and stays.
alter table browser_steps add column files jsonb not null default '[]';
