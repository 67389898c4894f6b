/*
 * Refuses a row that breaks a rule of its table, as Postgres would if the rule were a constraint of its
 * own: check_violation, with the rule's name in the message and in the error's fields. The rule's name
 * goes on from the table's and reads as a sentence (token_transactions_sign_follows_entry_type).
 * Caller: tokenbook.append_transactions.   Errors: check_violation, always.
 */
create function tokenbook.refuse_row(p_table text, p_rule text, p_row jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_constraint constant text := p_table || '_' || p_rule;
begin
  raise exception using
    errcode = 'check_violation',
    schema = 'public',
    table = p_table,
    constraint = v_constraint,
    message = format('new row for relation "%s" violates check constraint "%s"', p_table, v_constraint),
    detail = format('Failing row contains %s.', p_row);
end
$$;
comment on function tokenbook.refuse_row is
  'Refuses a row that breaks a rule of its table: check_violation, with the rule for its constraint and the row in the detail.';
