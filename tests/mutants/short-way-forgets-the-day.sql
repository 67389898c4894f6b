-- The usual deduction is not counted into its day.
select pg_temp.mutate('private.spend_at_once', 'spent_day = a.spent_day + p_tokens,', '');
