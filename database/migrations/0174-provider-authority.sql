-- What an identity provider may say (docs/decisions/0270): the rights of whoever set it up, when they did. It links nobody by name or
-- address who may do more. Those that are there were set up before there was the rule.
alter table identity_providers
  add column vouches text[] not null default '{*}';
alter table identity_providers alter column vouches set default '{}';
