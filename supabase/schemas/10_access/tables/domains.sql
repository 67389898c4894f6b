/*
 * What a column's values must be, whatever writes them. Domains and not CHECKs of the tables, which Postgres reads and
 * plans anew for every statement that writes a row (decision 26).
 */
create domain tokenbook.token_count as bigint
  constraint token_count_is_never_negative check (value >= 0)
  constraint token_count_is_exact_in_json check (value <= 9007199254740991);
comment on domain tokenbook.token_count is
  'A number of tokens that there are: never negative, and within 2^53 - 1, the largest integer that JSON carries exactly.';

create domain tokenbook.tokens_granted as bigint
  constraint tokens_granted_are_within_the_limit check (value between 1 and 1000000000000);
comment on domain tokenbook.tokens_granted is 'Tokens given at once: 1 to 10^12.';

create domain tokenbook.grant_priority as smallint
  constraint grant_priority_is_between_0_and_100 check (value between 0 and 100);
comment on domain tokenbook.grant_priority is 'The priority of a grant, 0 to 100; a lower number is spent first.';

create domain tokenbook.account_state as text
  constraint account_state_is_known check (value in ('active', 'frozen'));
comment on domain tokenbook.account_state is 'Of an account: active or frozen.';
