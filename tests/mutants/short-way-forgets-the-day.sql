-- The usual deduction is not counted into its day.
select pg_temp.mutate('private.spend_at_once', 'spent_day = v_account.spent_day + p_tokens,', '');
