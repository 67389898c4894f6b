-- A user who has paid before may still claim a referral.
select pg_temp.mutate('before-one-pays', '\& and false');
