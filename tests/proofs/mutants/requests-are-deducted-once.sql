-- What two deductions say in their metadata proves that the second was one too many.
select pg_temp.mutate('requests-prove-nothing', '''used'', e.tokens,');
