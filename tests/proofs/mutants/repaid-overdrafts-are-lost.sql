-- What has been repaid of an overdraft does not come back.
select pg_temp.mutate('repaid-overdrafts-go-back', 'v_of_overdraft + v_entry.debt_change', '0');
