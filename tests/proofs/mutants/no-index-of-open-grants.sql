-- The indexes of open grants in the order in which they are spent are missing.
drop index public.token_balances_burn_order_idx;
drop index public.token_balances_expiring_first_idx;
