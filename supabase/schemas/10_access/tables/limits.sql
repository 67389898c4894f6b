/*
 * The numbers that more than one place has to know: at most so many tokens in one movement, so many items
 * and bytes in a batch, so many seconds of a hold, and how many when nothing is said; how much
 * due work one call books (due_grants, due_holds), and how many grants may pay for one entry. pack_tokens
 * times pack_quantity, what one may buy at once, is no more than a movement may have; nor is slot_tokens, what one
 * slot of a schedule may give, times slots_in_one_grant. payment_disputes is how many of one payment are weighed, plans_beside how many
 * paid periods a user may have beside the one in force. usage_rows is how many uses a report adds up, report_totals how
 * many totals of uses it reads, report_rows how long it is. upcoming_grants is how many grants to come a user may have.
 * open_holds and
 * pending_payments are what a user may have at a time unless the project has chosen otherwise
 * (set_token_limit, tokenbook.limit_of).
 * code_attempts is how many wrong codes a user may try before they must wait, until code_attempt_seconds after the first.
 * The edge functions have them from here too (_shared/lists.ts), and the reference. Immutable, so that
 * the planner folds a call of it into a constant.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.limits()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"tokens": 1000000000000,
           "batch_items": 1000, "batch_bytes": 1048576,
           "hold_seconds": 900, "hold_seconds_at_most": 86400,
           "due_grants": 1000, "due_holds": 200, "grants_in_one_entry": 10000,
           "pack_tokens": 1000000000, "pack_quantity": 1000,
           "slot_tokens": 100000000, "slots_in_one_grant": 10000,
           "usage_rows": 25000, "report_totals": 100000, "report_rows": 5000,
           "open_holds": 200, "pending_payments": 20, "payment_disputes": 200, "plans_beside": 100, "grant_types": 100,
           "restricted_grants": 100, "upcoming_grants": 100,
           "code_attempts": 10, "code_attempt_seconds": 3600}';
end
$$;
comment on function tokenbook.limits is
  'The numbers that more than one place has to know, by name.';
