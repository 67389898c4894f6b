-- Each part of a charge is rounded by itself.
select pg_temp.mutate('cents-add-up', '<= round(sum(w.cents) over of_currency) - sum(floor(w.cents)) over of_currency', '<= 0');
