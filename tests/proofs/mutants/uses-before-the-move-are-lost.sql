-- What users used here before they left counts nowhere once they are back.
select pg_temp.mutate('used-here-before', 'm.direction = ''out''', 'false');
