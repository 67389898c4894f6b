-- A deduction by the fast path is not counted into its day.
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', $$else 0 end + p_tokens_to_deduct,
           spent_week$$, $$else 0 end,
           spent_week$$);
