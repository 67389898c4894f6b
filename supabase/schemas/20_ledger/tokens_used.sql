/*
 * A computed field: what a client that was written for the older table selects as `tokens_used`, with the same sign
 * (grants positive, deductions negative). In SQL `t.tokens_used`, over the API `select=tokens_used`.
 * Its parameter has no name, so that it is a field and no rpc.
 * Caller: authenticated, service_role; it sees no more than the row it is given.
 */
create function public.tokens_used(public.token_transactions)
returns bigint
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select $1.tokens
$$;
comment on function public.tokens_used is
  'The tokens of a transaction under their older name: select t.tokens_used from token_transactions t. Grants positive, deductions negative.';
