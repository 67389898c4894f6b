/*
 * The kinds of alerts. asks: what a rule of that kind says (a threshold; hours; nothing), null for a
 * kind that no rule is of. about: what an alert of it is about (a crossing, counted by epoch; a grant;
 * a request; a moment of a subscription, or of the project: its epoch says which). ends: whether its end can be an alert too.
 * The one list: the CHECKs, set_token_alert_rule and the reference have it from here, and the edge
 * functions (_shared/lists.ts). A kind that is added here is a rule that can be set and an alert that
 * can be kept; the code that raises it is written separately.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.alert_kinds()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"dropped":             {"asks": "threshold", "about": "crossing", "ends": true},
           "depleted":            {"asks": "nothing",   "about": "crossing", "ends": true},
           "expiring_soon":       {"asks": "hours",     "about": "grant",    "ends": false},
           "recovered":           {"asks": null,        "about": "crossing", "ends": false},
           "top_up_requested":    {"asks": null,        "about": "request",  "ends": false},
           "top_up_needs_action": {"asks": null,        "about": "request",  "ends": false},
           "top_up_failed":       {"asks": null,        "about": "request",  "ends": false},
           "subscription_past_due": {"asks": null,     "about": "moment",   "ends": false},
           "subscription_ended":  {"asks": null,       "about": "moment",   "ends": false},
           "payment_parked":      {"asks": null,       "about": "moment",   "ends": true},
           "payment_contradicted": {"asks": null,      "about": "moment",   "ends": false},
           "model_unknown":       {"asks": null,       "about": "moment",   "ends": false}}';
end
$$;
comment on function tokenbook.alert_kinds is
  'The kinds of alerts: {kind: {asks (threshold, hours, nothing; null: no rule), about (crossing, grant, request, moment), ends}}.';
