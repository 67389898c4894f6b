/*
 * private.rules_in_force.has_common_caps is asked for no more. By itself, when the functions that ask
 * their table have been committed: a call that still had the old ones would not find the column.
 */
-- squawk-ignore ban-drop-column
alter table private.rules_in_force drop column has_common_caps;
