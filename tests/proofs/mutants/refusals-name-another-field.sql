-- A refusal of a rule about several fields names the first that was given, not the one that must change.
select pg_temp.mutate('rules-name-their-field', 'order by');
