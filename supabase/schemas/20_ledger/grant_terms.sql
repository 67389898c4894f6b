/*
 * What never changes of a grant, as the entry that gives it keeps it: so that the ledger, which nobody can change,
 * says when a grant runs out and in which order it is spent, and verify_token_ledger has a second record to compare
 * with.
 * Caller: internal.
 */
create function tokenbook.grant_terms(p_grant public.token_balances)
returns jsonb
language sql
stable
security invoker
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'id', p_grant.id, 'grant_type', p_grant.grant_type, 'tokens_granted', p_grant.tokens_granted,
    'priority', p_grant.priority, 'granted_at', p_grant.granted_at, 'expires_at', p_grant.expires_at,
    'subscription_id', p_grant.subscription_id, 'period_start', p_grant.period_start,
    'rolled_over_from', p_grant.rolled_over_from, 'legacy_transaction_id', p_grant.legacy_transaction_id, 'pays_for', p_grant.pays_for,
    'cost_basis_cents', p_grant.cost_basis_cents, 'currency', p_grant.currency, 'cost_basis_of', p_grant.cost_basis_of,
    'created_at', p_grant.created_at))
$$;
comment on function tokenbook.grant_terms is
  'What never changes of a grant, as JSON: what the entry that gives it keeps of it.';
