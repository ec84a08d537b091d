-- Which kinds of connections there are is said in one place, the schema of their settings; each new kind needed a migration before.
alter table connections drop constraint connections_kind_check;
