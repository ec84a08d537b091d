-- Kafka beside AMQP: connections of its kind, and drafts of sources that say which broker they mean.

alter table connections drop constraint connections_kind_check;
alter table connections add constraint connections_kind_check check (kind in ('smtp', 'slack', 'pagerduty', 'webhook', 'llm', 'http', 'amqp', 'kafka'));

-- The owner of the tables is subject to their policies as well, and has no organisation.
alter table broker_sources no force row level security;
update broker_sources set draft = jsonb_build_object('kind', 'amqp') || draft where not draft ? 'kind';
alter table broker_sources force row level security;
