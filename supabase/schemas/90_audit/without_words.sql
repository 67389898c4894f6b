/*
 * An entry of the ledger without what callers wrote about a person: their metadata, the reason that somebody gave, and
 * both of them in the request. What the books wrote themselves stays, for they read it; a word stays of a reason that
 * says what a correction was (goodwill, reconciliation). Of what was mirrored from a counter the books wrote the reason
 * themselves. The key stays: one key, one effect, for ever.
 * All of it is in the chain of the words (tokenbook.chain_ledger), and nothing of it in that of the numbers.
 * Caller: internal.
 */
create function tokenbook.without_words(p_entry public.token_transactions)
returns public.token_transactions
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_entry.actor_role = 'system' and p_entry.metadata ? 'mirrored_from' then
    p_entry.metadata := tokenbook.words_of_ours(p_entry.metadata);
    return p_entry;
  end if;
  if p_entry.entry_type in ('deduction', 'hold')
    or p_entry.entry_type = 'usage' and (p_entry.usage_id is not null or p_entry.action_type not in ('plan_change', 'restating', 'expiry_change'))
    or p_entry.entry_type = 'grant' and (p_entry.terms -> 'grants' -> 0 ? 'subscription_id') is not true
  then
    p_entry.metadata := '{}';
  elsif p_entry.entry_type = 'opening_balance' then
    p_entry.metadata := tokenbook.words_of_ours(p_entry.metadata);
  end if;
  if p_entry.entry_type in ('grant', 'refund', 'void', 'clawback', 'restoration', 'restatement')
    or p_entry.action_type in ('admin_deduct', 'restating', 'expiry_change', 'upcoming_grant')
  then
    p_entry.reason := tokenbook.erased(p_entry.reason); -- @reasons-are-erased
  end if;
  if p_entry.request ->> 'reason' is not null then
    p_entry.request := jsonb_set(p_entry.request, '{reason}', to_jsonb(p_entry.reason));
  end if;
  p_entry.request := p_entry.request - 'error_message';
  return p_entry;
end
$$;
comment on function tokenbook.without_words is
  'An entry of the ledger without what callers wrote: metadata, reason, and both in the request. Numbers, ids and the key stay.';

/*
 * What the books themselves write into metadata, and read again.
 * Caller: internal.
 */
create function tokenbook.words_of_ours(p_metadata jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select jsonb_object_agg(m.key, m.value)
       from jsonb_each(p_metadata) m
      where m.key in ('source', 'imported_from', 'tokens_remaining', 'tokens_used', 'total_cost', 'given_back_for', 'period_start',
                      'expires_at', 'plan', 'plan_type', 'times', 'mirrored_from')),
    '{}');
end
$$;
comment on function tokenbook.words_of_ours is 'Of metadata what the books themselves wrote and read.';

/*
 * What stands in the place of a reason that was erased: that there was one, and what the books read of it.
 * Caller: internal.
 */
create function tokenbook.erased(p_reason text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(lower(substring(p_reason from '(?i)^[[:space:]]*(goodwill|reconciliation)')) || ': ', '')
    || case when p_reason is not null then 'erased' end;
end
$$;
comment on function tokenbook.erased is
  'What stands in the place of a reason that was erased: erased, after goodwill or reconciliation where it began so; NULL where there was none.';

-- Of metadata the ids of the request, by which an app knows its own logs.
create function tokenbook.request_ids(p_metadata jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_strip_nulls(jsonb_build_object('request_id', p_metadata -> 'request_id', 'requestId', p_metadata -> 'requestId'));
end
$$;
comment on function tokenbook.request_ids is 'Of metadata the ids of the request, request_id and requestId.';
