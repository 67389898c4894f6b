-- Who was referred gives back what they got; who referred does not.
select pg_temp.mutate('both-give-back', '');
