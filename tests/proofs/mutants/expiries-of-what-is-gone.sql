-- What has ended, and is not booked yet, is told as about to end.
select pg_temp.mutate('what-ends-later', 'b.expires_at > v_now and ', '');
