export { stripeApi } from "../_shared/stripe.ts";
