/*
 * Refuses: raises a registered error, with the SQLSTATE and the hint of its slug.
 * The slug is the message (a constant: PostgREST makes it the HTTP reason phrase), the facts are
 * one JSON object in the detail, the advice is the hint. The registry: supabase/errors.toml.
 * Caller: internal.   Errors: all of them.
 */
create function tokenbook.refuse(p_slug text, p_facts jsonb default null)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sqlstate text;
  v_hint text;
begin
  select r.sqlstate, r.hint into v_sqlstate, v_hint
    from (values
      -- made from supabase/errors.toml: npm run errors
      ('not_authenticated', '42501', 'Sign in.'),
      ('forbidden', '42501', 'You may not do this for that user.'),
      ('subject_not_registered', 'PT403', 'The server has to say which user that is: set_token_subject.'),
      ('unsupported_media_type', 'PT415', 'Send the body as application/json.'),
      ('invalid_request', 'PT400', 'Send what the function''s reference lists, and nothing else.'),
      ('invalid_user_id', 'PT400', 'Say which user.'),
      ('invalid_amount', 'PT400', 'Give a whole number of tokens within the stated limits.'),
      ('invalid_grant_type', 'PT400', 'Do as the rule says.'),
      ('invalid_action_type', 'PT400', 'Use 1 to 64 characters of a-z 0-9 _, starting with a letter; names that mean something to the books are reserved.'),
      ('invalid_priority', 'PT400', 'Use 0 (spent first) to 100 (spent last).'),
      ('invalid_granted_at', 'PT400', 'Give a moment that is not in the future, or leave it out.'),
      ('invalid_starts_at', 'PT400', 'Give a moment in the next ten years, or leave it out: the grant begins now.'),
      ('invalid_expiry', 'PT400', 'Give a moment in the future, ''infinity'' for never, or leave it out.'),
      ('invalid_reason', 'PT400', 'Use 1 to 500 characters that are not all blank.'),
      ('invalid_idempotency_key', 'PT400', 'Use 1 to 255 characters of A-Z a-z 0-9 . _ : -'),
      ('invalid_metadata', 'PT400', 'Give a JSON object of at most 8192 bytes.'),
      ('invalid_usage', 'PT400', 'Say what was used: whole numbers from 0, parts no larger than the whole.'),
      ('invalid_ttl', 'PT400', 'Hold for as many seconds as the rule allows.'),
      ('invalid_test_interval', 'PT400', 'Advance the clock by whole seconds, 1 to ten years.'),
      ('invalid_refund', 'PT400', 'Use forfeit, or reissue with a lifetime in days.'),
      ('invalid_burn_order', 'PT400', 'Use fifo or expiring_first.'),
      ('invalid_batch', 'PT400', 'Send no more items and bytes than the rule says, and at least one item.'),
      ('invalid_cap', 'PT400', 'Use day, week or month, and 0 to 1000000000000 tokens.'),
      ('invalid_member', 'PT400', 'Name a user other than the payer.'),
      ('invalid_alert_rule', 'PT400', 'Say what the rule''s kind needs, and nothing else.'),
      ('invalid_webhook_endpoint', 'PT400', 'Give a plain name, an https address, and kinds that there are.'),
      ('invalid_top_up', 'PT400', 'Say below how many tokens to ask, and for how many tokens, which plan or how many of which pack.'),
      ('invalid_customer', 'PT400', 'Give the provider and its id of the customer.'),
      ('invalid_subject', 'PT400', 'Give the issuer and the subject as the tokens name them.'),
      ('invalid_moment', 'PT400', 'Give a moment that has passed.'),
      ('invalid_pays_for', 'PT400', 'Do as the rule says.'),
      ('invalid_cost_basis', 'PT400', 'Do as the rule says.'),
      ('invalid_page', 'PT400', 'Ask for 1 to 200 entries, and pass next_before on as it was given.'),
      ('invalid_state', 'PT400', 'Use active or frozen.'),
      ('invalid_scope', 'PT400', 'Name a user, or a plan, or say p_for_everyone true.'),
      ('invalid_payment', 'PT400', 'Name the payment and how it was made in a few characters, or leave both out.'),
      ('invalid_purchase', 'PT400', 'Name one plan, or one pack and how many of it.'),
      ('invalid_plan', 'PT400', 'Send the fields of a plan, each with a value that it can have.'),
      ('invalid_model_price', 'PT400', 'Send the prices of a model in cents, from a moment to come on or from now.'),
      ('invalid_model_rate', 'PT400', 'Send the tokens that a model costs, from a moment to come on or from now.'),
      ('invalid_model_policy', 'PT400', 'Use record or refuse.'),
      ('unknown_model', 'PT409', 'Give the model a price, or have its use recorded all the same. Nothing was changed.'),
      ('invalid_action_cost', 'PT400', 'Send the fewest and the most tokens that the action costs.'),
      ('invalid_report', 'PT400', 'Ask for what rule says; for a longer time in several calls.'),
      ('invalid_pack', 'PT400', 'Send the fields of a pack, each with a value that it can have.'),
      ('invalid_charged_table', 'PT400', 'Name a table of your own, the column of its user, and how many tokens a row costs.'),
      ('invalid_usage_archive', 'PT400', 'Do as the rule says.'),
      ('invalid_checkpoint', 'PT400', 'Give the lines and next of a checkpoint as they were given.'),
      ('idempotency_key_reused', 'PT422', 'That key was used for another request. Use a new key for a new request.'),
      ('user_not_found', 'PT404', 'There is no such user.'),
      ('payment_not_found', 'PT404', 'There is no such payment.'),
      ('plan_not_found', 'PT404', 'Use a plan of the catalogue (token_plans).'),
      ('pack_not_found', 'PT404', 'Use a pack of the catalogue (token_packs).'),
      ('plan_in_use', 'PT409', 'Make another plan with what is to be different, and take this one out of the offer.'),
      ('subscription_not_found', 'PT404', 'The user has no active subscription.'),
      ('charge_not_found', 'PT404', 'There is no such usage or transaction of that user.'),
      ('hold_not_found', 'PT404', 'There is no such hold of that user.'),
      ('grant_not_found', 'PT404', 'There is no such grant of that user, or it is still to come.'),
      ('member_not_found', 'PT404', 'There is no such member of that user''s team.'),
      ('webhook_endpoint_not_found', 'PT404', 'list_token_webhook_endpoints has those that there are.'),
      ('webhook_delivery_not_found', 'PT404', 'list_token_webhook_deliveries has those that there are.'),
      ('top_up_request_not_found', 'PT404', 'There is no such top-up request of that user.'),
      ('account_frozen', 'PT403', 'The account is frozen: nothing can be spent, held or topped up until an admin makes it active again.'),
      ('account_moving', 'PT503', 'The user''s books are being moved to another project. Try again with the same key.'),
      ('account_moved', 'PT410', 'The user''s books are in another project, the one that `moved_to` names: send the same request there.'),
      ('invalid_move', 'PT409', 'Do as the rule says.'),
      ('not_for_sale', 'PT409', 'It has no price at the payment provider, or a wrong one. Nothing was begun.'),
      ('already_subscribed', 'PT409', 'The user has a subscription at the payment provider: change it there.'),
      ('top_up_already_settled', 'PT409', 'The request has been settled otherwise. Nothing was changed.'),
      ('grant_already_voided', 'PT409', 'The grant has been ended before. Nothing was changed.'),
      ('not_a_test_user', 'PT409', 'The clock is advanced of test users alone; the rule says what is missing.'),
      ('grant_has_ended', 'PT409', 'The grant has run out. Give another.'),
      ('parent_hold_ended', 'PT409', 'The hold passes nothing on any more; the status says why. Reserve another.'),
      ('parent_hold_short', 'PT402', 'The budget has less left than is needed. Ask for less, or wait until other calls of the task give back.'),
      ('capture_exceeds_hold', 'PT409', 'Capture no more than was held, or choose deduct or cap.'),
      ('not_refundable', 'PT409', 'Only deductions can be refunded.'),
      ('refund_exceeds_charge', 'PT409', 'No more can be refunded than is left of the charge.'),
      ('before_the_books', 'PT404', 'The books of that user were not open yet.'),
      ('restatement_not_found', 'PT404', 'There is no such restatement of that user.'),
      ('finding_not_found', 'PT404', 'That transaction is not booked out of the order of time.'),
      ('restatement_already_reversed', 'PT409', 'The restatement has been reversed before. Nothing was changed.'),
      ('restatement_spent', 'PT409', 'What it gave has been spent or has run out. Nothing was changed.'),
      ('payment_already_decided', 'PT409', 'The payment has been decided otherwise. Nothing was changed.'),
      ('paid_at_provider', 'PT409', 'Refund it at the provider, in Stripe''s or PayPal''s dashboard: the books follow by its webhook. Nothing was changed.'),
      ('invalid_code', 'PT400', 'Send the fields of a code, each with a value that it can have.'),
      ('code_taken', 'PT409', 'There is such a code already, or was. Nothing was changed.'),
      ('code_not_found', 'PT404', 'There is no such code.'),
      ('code_not_redeemable', 'PT404', 'There is no such code, or it is over or used up.'),
      ('too_many_attempts', 'PT429', 'Wait until the moment that the fact says.'),
      ('referral_not_possible', 'PT409', 'Nothing was changed.'),
      ('invalid_referral_policy', 'PT400', 'Say what both sides are given, or null for both.'),
      ('trial_already_taken', 'PT409', 'One trial a person. Nothing was changed.'),
      ('trial_needs_identity', 'PT409', 'Add an address, a phone number or a sign-in with a provider first. Nothing was changed.'),
      ('not_due_yet', 'PT409', 'The next period has not begun.'),
      ('not_applied', 'PT424', 'Another item of the batch failed, and it was to be all or nothing. Send the batch again without it.'),
      ('already_in_team', 'PT409', 'A member has one payer, and teams do not nest. Nothing was changed.'),
      ('invalid_provider_event', 'PT400', 'Send what the provider''s event says, in the stated form.'),
      ('balance_limit_exceeded', 'PT409', 'The account cannot hold that many tokens.'),
      ('too_many_plans', 'PT409', 'They have as many paid periods that run at once as anybody may.'),
      ('ledger_is_append_only', '42501', 'Book a correction instead.'),
      ('insufficient_balance', 'PT402', 'Nothing was changed. Add tokens, or ask for fewer.'),
      ('spend_cap_reached', 'PT429', 'Nothing was changed. More tokens do not help: wait until the cap resets, ask for fewer, or have it raised.'),
      ('account_lost', 'PT500', 'Restore the user''s rows of the books from the backup that the rest came from.'),
      ('account_damaged', 'PT500', 'Ask verify_token_ledger what is wrong with this user''s books, and mend it.'),
      ('too_many_holds', 'PT429', 'Capture or release a hold first, or wait until one runs out.'),
      ('too_many_payments', 'PT429', 'Wait until a payment has been decided.'),
      ('too_many_restricted_grants', 'PT409', 'Let some of those grants be spent, or void them.'),
      ('too_many_grants', 'PT409', 'Spend at most as many tokens at once as the fact says.'),
      ('too_many_upcoming_grants', 'PT409', 'Call one off, or wait until one begins.'),
      ('old_counter_is_read_only', 'PT409', 'The books keep the balance now: spend with deduct_tokens_with_fifo, add with grant_tokens. Nothing was changed.'),
      ('invalid_limit', 'PT400', 'Use open_holds or pending_payments, and 1 to 10000.'),
      ('invalid_trial_policy', 'PT400', 'Use allow, refuse, or reduced with either a percentage or a number of tokens.'),
      ('busy', 'PT503', 'Other work has the account, or more is to be caught up with than one call does. Try again with the same key.'),
      ('read_only', '25006', 'Ask the primary, outside of a read-only transaction: something has to be written first.')
    ) as r (slug, sqlstate, hint)
   where r.slug = p_slug;

  if p_facts is null then
    raise exception using errcode = v_sqlstate, message = p_slug, hint = v_hint;
  end if;
  raise exception using errcode = v_sqlstate, message = p_slug, detail = p_facts::text, hint = v_hint;
end
$$;
comment on function tokenbook.refuse is
  'Raises the registered error of that slug: SQLSTATE and hint from the registry, facts as JSON in the detail. See docs/errors.md.';
