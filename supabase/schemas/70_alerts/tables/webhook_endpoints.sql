-- Where webhooks are sent, and of which events: the project's own choice. Not the secret that a delivery is signed with: that is
-- in the settings of the edge functions, under a name made of the endpoint's (decision 61). No client reads an address,
-- which may be a secret by itself.
create table tokenbook.webhook_endpoints (
  name text primary key,
  url text not null,
  kinds text[],
  is_enabled boolean not null default true,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint webhook_endpoints_name_is_plain check (name ~ '^[a-z][a-z0-9_]{0,31}$'),
  constraint webhook_endpoints_url_is_https_or_local check (tokenbook.is_webhook_url(url)),
  constraint webhook_endpoints_kinds_are_few check (cardinality(kinds) between 1 and 100),
  constraint webhook_endpoints_kinds_are_known check (
    array_position(kinds, null) is null and tokenbook.event_kinds() ?& kinds)
);
comment on table tokenbook.webhook_endpoints is
  'The endpoints that webhooks are sent to, and of which events. Written by set_token_webhook_endpoint and remove_token_webhook_endpoint; read by list_token_webhook_endpoints.';
comment on column tokenbook.webhook_endpoints.name is 'Its name. The setting of the edge functions with its secret is TOKEN_WEBHOOK_SECRET_ and this in upper case.';
comment on column tokenbook.webhook_endpoints.url is 'Where it is: https, or http on this machine.';
comment on column tokenbook.webhook_endpoints.kinds is 'What it is told of (tokenbook.event_kinds); NULL = everything, also what is added later.';
comment on column tokenbook.webhook_endpoints.is_enabled is 'False: nothing is written for it, and nothing sent.';
comment on column tokenbook.webhook_endpoints.created_at is 'When it was made.';
comment on column tokenbook.webhook_endpoints.updated_at is 'When it was last set.';
alter table tokenbook.webhook_endpoints enable row level security;
