-- The referred user's reward is taken back; the referrer's is not.
select pg_temp.mutate('both-give-back', '');
