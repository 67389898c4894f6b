/** What can be bought: a pack or a plan that a payment provider has a price for, at its page; others by asking. */
import type { Payment } from "tokenbook";

export type Offer = { planType: string } | { packType: string };

export const typeOf = (offer: Offer) =>
  "packType" in offer ? `pack ${offer.packType}` : `plan ${offer.planType}`;

/** Whether a payment is for it. */
export const isFor = ({ pack_type, to_plan }: Payment, offer: Offer) =>
  "packType" in offer ? pack_type === offer.packType : to_plan === offer.planType;

/** How a price is written of a plan that is paid for again and again. */
export const cycles = { none: "", "28day": " / 28 days", monthly: " / month", annual: " / year" };
