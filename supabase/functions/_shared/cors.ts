import { corsHeaders } from "@supabase/supabase-js/cors";

/**
 * The headers that let a page of another origin send our requests and read our answers.
 *
 * @param methods as they stand in the header
 */
export function corsFor(methods: string): Record<string, string> {
  return {
    ...corsHeaders,
    "Access-Control-Allow-Methods": methods,
    "Access-Control-Allow-Headers": `${corsHeaders["Access-Control-Allow-Headers"]}, idempotency-key`,
    "Access-Control-Expose-Headers": "Idempotency-Replayed, Retry-After",
    "Access-Control-Max-Age": "86400",
  };
}
