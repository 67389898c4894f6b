-- An event of before takes a customer from whom our own server has said they are.
select pg_temp.mutate('said-by-us-stays', 'case when p_event_id = '''' then ''-infinity'' else p_told_at end', 'p_told_at');
