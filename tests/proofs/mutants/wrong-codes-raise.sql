-- A code that is wrong is refused with an exception, which takes its count back.
select pg_temp.mutate('guesses-are-counted', 'perform tokenbook.refuse(''code_not_redeemable'', ''{}''); return null;');
