-- what was used beyond a hold is uncovered, whatever there is
select pg_temp.mutate('takes-what-there-is', 'v_uncovered := v_beyond; v_beyond := 0;');
