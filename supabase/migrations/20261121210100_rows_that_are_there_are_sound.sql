/*
 * The rows that were there before the CHECKs became one a table (20261121210000): the old CHECKs held
 * them to the same, and the new ones look at them here, while others go on writing.
 */
alter table public.token_transactions validate constraint token_transactions_are_sound;
alter table public.token_accounts validate constraint token_accounts_are_sound;
alter table public.token_balances validate constraint token_balances_are_sound;
