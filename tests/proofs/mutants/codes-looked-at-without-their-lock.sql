-- How often a code was redeemed is looked at before, and not again under its lock; how often it may be is no rule of the table.
select pg_temp.mutate('codes-are-locked', 'select c.* into v_code from tokenbook.codes c where c.id = p_code_id; perform pg_sleep(0.02);');
alter table tokenbook.codes drop constraint codes_are_redeemed_as_often_as_they_may;
