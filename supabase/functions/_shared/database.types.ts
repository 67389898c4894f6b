// Generated from the database by `npm run types`. Do not edit.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

export type Database = {
  public: {
    Tables: {
      token_accounts: {
        Row: {
          alert_above: number | null;
          alert_below: number | null;
          alerts_version: number | null;
          has_caps: boolean;
          last_alert_id: number;
          last_transaction_id: number;
          next_alert_at: string | null;
          next_due_at: string | null;
          overdraft_limit: number | null;
          payer_id: string | null;
          restricted_until: string | null;
          spent_at: string | null;
          spent_day: number;
          spent_month: number;
          spent_week: number;
          state: string;
          tokens_expired: number;
          tokens_owed: number;
          tokens_remaining: number;
          tokens_reserved: number;
          tokens_used: number;
          total_cost: number;
          updated_at: string;
          user_id: string;
          warns_of_expiry: boolean;
          was_member: boolean;
        };
        ComputedFields: never;
        Insert: {
          alert_above?: number | null;
          alert_below?: number | null;
          alerts_version?: number | null;
          has_caps?: boolean;
          last_alert_id?: number;
          last_transaction_id?: number;
          next_alert_at?: string | null;
          next_due_at?: string | null;
          overdraft_limit?: number | null;
          payer_id?: string | null;
          restricted_until?: string | null;
          spent_at?: string | null;
          spent_day?: number;
          spent_month?: number;
          spent_week?: number;
          state?: string;
          tokens_expired?: number;
          tokens_owed?: number;
          tokens_remaining?: number;
          tokens_reserved?: number;
          tokens_used?: number;
          total_cost?: number;
          updated_at?: string;
          user_id: string;
          warns_of_expiry?: boolean;
          was_member?: boolean;
        };
        Update: {
          alert_above?: number | null;
          alert_below?: number | null;
          alerts_version?: number | null;
          has_caps?: boolean;
          last_alert_id?: number;
          last_transaction_id?: number;
          next_alert_at?: string | null;
          next_due_at?: string | null;
          overdraft_limit?: number | null;
          payer_id?: string | null;
          restricted_until?: string | null;
          spent_at?: string | null;
          spent_day?: number;
          spent_month?: number;
          spent_week?: number;
          state?: string;
          tokens_expired?: number;
          tokens_owed?: number;
          tokens_remaining?: number;
          tokens_reserved?: number;
          tokens_used?: number;
          total_cost?: number;
          updated_at?: string;
          user_id?: string;
          warns_of_expiry?: boolean;
          was_member?: boolean;
        };
        Relationships: [];
      };
      token_action_costs: {
        Row: {
          action_type: string;
          max_tokens: number;
          min_tokens: number;
        };
        ComputedFields: never;
        Insert: {
          action_type: string;
          max_tokens: number;
          min_tokens: number;
        };
        Update: {
          action_type?: string;
          max_tokens?: number;
          min_tokens?: number;
        };
        Relationships: [];
      };
      token_alert_rules: {
        Row: {
          hours: number | null;
          id: string;
          is_enabled: boolean;
          kind: string;
          notify_recovered: boolean;
          plan_type: string | null;
          rule: string;
          threshold_percent: number | null;
          threshold_tokens: number | null;
          updated_at: string;
          user_id: string | null;
        };
        ComputedFields: never;
        Insert: {
          hours?: number | null;
          id?: string;
          is_enabled?: boolean;
          kind: string;
          notify_recovered?: boolean;
          plan_type?: string | null;
          rule: string;
          threshold_percent?: number | null;
          threshold_tokens?: number | null;
          updated_at?: string;
          user_id?: string | null;
        };
        Update: {
          hours?: number | null;
          id?: string;
          is_enabled?: boolean;
          kind?: string;
          notify_recovered?: boolean;
          plan_type?: string | null;
          rule?: string;
          threshold_percent?: number | null;
          threshold_tokens?: number | null;
          updated_at?: string;
          user_id?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "token_alert_rules_plan_type_fkey";
            columns: ["plan_type"];
            isOneToOne: false;
            referencedRelation: "token_plans";
            referencedColumns: ["plan_type"];
          },
        ];
      };
      token_alerts: {
        Row: {
          created_at: string;
          epoch: number | null;
          grant_id: string | null;
          id: number;
          kind: string;
          payload: NonNullable<Json>;
          request_id: string | null;
          rule: string;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          created_at: string;
          epoch?: number | null;
          grant_id?: string | null;
          id: number;
          kind: string;
          payload: NonNullable<Json>;
          request_id?: string | null;
          rule: string;
          user_id: string;
        };
        Update: {
          created_at?: string;
          epoch?: number | null;
          grant_id?: string | null;
          id?: number;
          kind?: string;
          payload?: NonNullable<Json>;
          request_id?: string | null;
          rule?: string;
          user_id?: string;
        };
        Relationships: [];
      };
      token_balances: {
        Row: {
          cost_basis_cents: number | null;
          cost_basis_of: string | null;
          created_at: string;
          currency: string | null;
          expires_at: string | null;
          grant_type: string;
          granted_at: string;
          id: string;
          is_open: boolean;
          legacy_transaction_id: string | null;
          metadata: NonNullable<Json>;
          payment_id: string | null;
          pays_for: Json | null;
          period_start: string | null;
          priority: number;
          rolled_over_from: string | null;
          subscription_id: string | null;
          tokens_granted: number;
          tokens_remaining: number;
          user_id: string;
          voided_at: string | null;
        };
        ComputedFields: never;
        Insert: {
          cost_basis_cents?: number | null;
          cost_basis_of?: string | null;
          created_at?: string;
          currency?: string | null;
          expires_at?: string | null;
          grant_type: string;
          granted_at?: string;
          id?: string;
          is_open?: boolean;
          legacy_transaction_id?: string | null;
          metadata?: NonNullable<Json>;
          payment_id?: string | null;
          pays_for?: Json | null;
          period_start?: string | null;
          priority?: number;
          rolled_over_from?: string | null;
          subscription_id?: string | null;
          tokens_granted: number;
          tokens_remaining: number;
          user_id: string;
          voided_at?: string | null;
        };
        Update: {
          cost_basis_cents?: number | null;
          cost_basis_of?: string | null;
          created_at?: string;
          currency?: string | null;
          expires_at?: string | null;
          grant_type?: string;
          granted_at?: string;
          id?: string;
          is_open?: boolean;
          legacy_transaction_id?: string | null;
          metadata?: NonNullable<Json>;
          payment_id?: string | null;
          pays_for?: Json | null;
          period_start?: string | null;
          priority?: number;
          rolled_over_from?: string | null;
          subscription_id?: string | null;
          tokens_granted?: number;
          tokens_remaining?: number;
          user_id?: string;
          voided_at?: string | null;
        };
        Relationships: [];
      };
      token_default_spend_caps: {
        Row: {
          actor_id: string | null;
          actor_role: string;
          id: string;
          plan_type: string | null;
          reason: string | null;
          spend_window: string;
          tokens: number;
          updated_at: string;
        };
        ComputedFields: never;
        Insert: {
          actor_id?: string | null;
          actor_role: string;
          id?: string;
          plan_type?: string | null;
          reason?: string | null;
          spend_window: string;
          tokens: number;
          updated_at?: string;
        };
        Update: {
          actor_id?: string | null;
          actor_role?: string;
          id?: string;
          plan_type?: string | null;
          reason?: string | null;
          spend_window?: string;
          tokens?: number;
          updated_at?: string;
        };
        Relationships: [
          {
            foreignKeyName: "token_default_spend_caps_plan_type_fkey";
            columns: ["plan_type"];
            isOneToOne: false;
            referencedRelation: "token_plans";
            referencedColumns: ["plan_type"];
          },
        ];
      };
      token_grant_types: {
        Row: {
          created_at: string;
          grant_type: string;
          lifetime_hours: number | null;
          pays_for: Json | null;
          priority: number;
        };
        ComputedFields: never;
        Insert: {
          created_at?: string;
          grant_type: string;
          lifetime_hours?: number | null;
          pays_for?: Json | null;
          priority?: number;
        };
        Update: {
          created_at?: string;
          grant_type?: string;
          lifetime_hours?: number | null;
          pays_for?: Json | null;
          priority?: number;
        };
        Relationships: [];
      };
      token_holds: {
        Row: {
          action_type: string;
          actor_role: string;
          capture_id: number | null;
          children_captured: number;
          created_at: string;
          expires_at: string;
          grant_ids: string[];
          grant_tokens: number[];
          id: string;
          member_id: string | null;
          metadata: NonNullable<Json>;
          overage_id: number | null;
          parent_id: string | null;
          settled_at: string | null;
          status: string;
          tokens: number;
          tokens_captured: number | null;
          tokens_passed: number;
          tokens_uncovered: number;
          transaction_id: number;
          usage_id: string | null;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          action_type: string;
          actor_role: string;
          capture_id?: number | null;
          children_captured?: number;
          created_at: string;
          expires_at: string;
          grant_ids: string[];
          grant_tokens: number[];
          id?: string;
          member_id?: string | null;
          metadata?: NonNullable<Json>;
          overage_id?: number | null;
          parent_id?: string | null;
          settled_at?: string | null;
          status?: string;
          tokens: number;
          tokens_captured?: number | null;
          tokens_passed?: number;
          tokens_uncovered?: number;
          transaction_id: number;
          usage_id?: string | null;
          user_id: string;
        };
        Update: {
          action_type?: string;
          actor_role?: string;
          capture_id?: number | null;
          children_captured?: number;
          created_at?: string;
          expires_at?: string;
          grant_ids?: string[];
          grant_tokens?: number[];
          id?: string;
          member_id?: string | null;
          metadata?: NonNullable<Json>;
          overage_id?: number | null;
          parent_id?: string | null;
          settled_at?: string | null;
          status?: string;
          tokens?: number;
          tokens_captured?: number | null;
          tokens_passed?: number;
          tokens_uncovered?: number;
          transaction_id?: number;
          usage_id?: string | null;
          user_id?: string;
        };
        Relationships: [];
      };
      token_legacy_transactions: {
        Row: {
          action_type: string;
          created_at: string;
          id: number;
          legacy_id: string;
          metadata: NonNullable<Json>;
          tokens: number;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          action_type: string;
          created_at: string;
          id: number;
          legacy_id: string;
          metadata?: NonNullable<Json>;
          tokens: number;
          user_id: string;
        };
        Update: {
          action_type?: string;
          created_at?: string;
          id?: number;
          legacy_id?: string;
          metadata?: NonNullable<Json>;
          tokens?: number;
          user_id?: string;
        };
        Relationships: [];
      };
      token_model_prices: {
        Row: {
          cached_input_cents_per_million: number | null;
          cents_per_image: number | null;
          cents_per_minute: number | null;
          input_cents_per_million: number | null;
          model: string;
          output_cents_per_million: number | null;
          source: string;
          valid_from: string;
        };
        ComputedFields: never;
        Insert: {
          cached_input_cents_per_million?: number | null;
          cents_per_image?: number | null;
          cents_per_minute?: number | null;
          input_cents_per_million?: number | null;
          model: string;
          output_cents_per_million?: number | null;
          source?: string;
          valid_from?: string;
        };
        Update: {
          cached_input_cents_per_million?: number | null;
          cents_per_image?: number | null;
          cents_per_minute?: number | null;
          input_cents_per_million?: number | null;
          model?: string;
          output_cents_per_million?: number | null;
          source?: string;
          valid_from?: string;
        };
        Relationships: [];
      };
      token_model_rates: {
        Row: {
          markup_percent: number | null;
          model_pattern: string;
          tokens_per_cached: number | null;
          tokens_per_image: number | null;
          tokens_per_input: number | null;
          tokens_per_output: number | null;
          tokens_per_reasoning: number | null;
          tokens_per_second: number | null;
          valid_from: string;
        };
        ComputedFields: never;
        Insert: {
          markup_percent?: number | null;
          model_pattern: string;
          tokens_per_cached?: number | null;
          tokens_per_image?: number | null;
          tokens_per_input?: number | null;
          tokens_per_output?: number | null;
          tokens_per_reasoning?: number | null;
          tokens_per_second?: number | null;
          valid_from?: string;
        };
        Update: {
          markup_percent?: number | null;
          model_pattern?: string;
          tokens_per_cached?: number | null;
          tokens_per_image?: number | null;
          tokens_per_input?: number | null;
          tokens_per_output?: number | null;
          tokens_per_reasoning?: number | null;
          tokens_per_second?: number | null;
          valid_from?: string;
        };
        Relationships: [];
      };
      token_packs: {
        Row: {
          created_at: string;
          currency: string;
          former_stripe_price_ids: string[];
          is_offered: boolean;
          lifetime_days: number | null;
          name: string;
          pack_type: string;
          price_cents: number;
          priority: number;
          stripe_price_id: string | null;
          tokens: number;
          updated_at: string;
        };
        ComputedFields: never;
        Insert: {
          created_at?: string;
          currency?: string;
          former_stripe_price_ids?: string[];
          is_offered?: boolean;
          lifetime_days?: number | null;
          name: string;
          pack_type: string;
          price_cents: number;
          priority?: number;
          stripe_price_id?: string | null;
          tokens: number;
          updated_at?: string;
        };
        Update: {
          created_at?: string;
          currency?: string;
          former_stripe_price_ids?: string[];
          is_offered?: boolean;
          lifetime_days?: number | null;
          name?: string;
          pack_type?: string;
          price_cents?: number;
          priority?: number;
          stripe_price_id?: string | null;
          tokens?: number;
          updated_at?: string;
        };
        Relationships: [];
      };
      token_payments: {
        Row: {
          amount_cents: number;
          created_at: string;
          currency: string;
          decided_at: string | null;
          decided_by: string | null;
          disputed_cents: number;
          from_plan: string | null;
          id: string;
          idempotency_key: string | null;
          pack_type: string | null;
          provider: string;
          provider_payment_id: string | null;
          quantity: number;
          reason: string | null;
          refunded_cents: number;
          status: string;
          terms: NonNullable<Json>;
          to_plan: string | null;
          tokens: number | null;
          tokens_clawed_back: number;
          tokens_lapsed: number;
          user_id: string;
          token_offer_now: Json | null;
          token_payment_disagrees: Json | null;
          token_payment_email: string | null;
        };
        ComputedFields: "token_offer_now" | "token_payment_disagrees" | "token_payment_email";
        Insert: {
          amount_cents: number;
          created_at?: string;
          currency: string;
          decided_at?: string | null;
          decided_by?: string | null;
          disputed_cents?: number;
          from_plan?: string | null;
          id?: string;
          idempotency_key?: string | null;
          pack_type?: string | null;
          provider?: string;
          provider_payment_id?: string | null;
          quantity?: number;
          reason?: string | null;
          refunded_cents?: number;
          status?: string;
          terms: NonNullable<Json>;
          to_plan?: string | null;
          tokens?: number | null;
          tokens_clawed_back?: number;
          tokens_lapsed?: number;
          user_id: string;
        };
        Update: {
          amount_cents?: number;
          created_at?: string;
          currency?: string;
          decided_at?: string | null;
          decided_by?: string | null;
          disputed_cents?: number;
          from_plan?: string | null;
          id?: string;
          idempotency_key?: string | null;
          pack_type?: string | null;
          provider?: string;
          provider_payment_id?: string | null;
          quantity?: number;
          reason?: string | null;
          refunded_cents?: number;
          status?: string;
          terms?: NonNullable<Json>;
          to_plan?: string | null;
          tokens?: number | null;
          tokens_clawed_back?: number;
          tokens_lapsed?: number;
          user_id?: string;
        };
        Relationships: [
          {
            foreignKeyName: "token_payments_from_plan_fkey";
            columns: ["from_plan"];
            isOneToOne: false;
            referencedRelation: "token_plans";
            referencedColumns: ["plan_type"];
          },
          {
            foreignKeyName: "token_payments_pack_type_fkey";
            columns: ["pack_type"];
            isOneToOne: false;
            referencedRelation: "token_packs";
            referencedColumns: ["pack_type"];
          },
          {
            foreignKeyName: "token_payments_to_plan_fkey";
            columns: ["to_plan"];
            isOneToOne: false;
            referencedRelation: "token_plans";
            referencedColumns: ["plan_type"];
          },
        ];
      };
      token_plans: {
        Row: {
          articles_limit: number | null;
          balance_cap: number | null;
          billing_cycle: string;
          created_at: string;
          currency: string;
          features: NonNullable<Json>;
          former_paypal_plan_ids: string[];
          former_stripe_price_ids: string[];
          given_to_users_since: string | null;
          grace_days: number | null;
          grant_lifetime_days: number | null;
          grant_type: string;
          is_default: boolean;
          is_offered: boolean;
          issue_every: string | null;
          issue_on: string;
          name: string;
          overdraft_tokens: number | null;
          paypal_plan_id: string | null;
          plan_type: string;
          price_cents: number;
          rank: number;
          refill_to: number | null;
          rollover_lifetime_days: number | null;
          rollover_percent: number | null;
          rollover_tokens: number | null;
          storage_gb: number;
          stripe_price_id: string | null;
          tokens: number;
          tokens_per_period: number | null;
          updated_at: string;
        };
        ComputedFields: never;
        Insert: {
          articles_limit?: number | null;
          balance_cap?: number | null;
          billing_cycle?: string;
          created_at?: string;
          currency?: string;
          features?: NonNullable<Json>;
          former_paypal_plan_ids?: string[];
          former_stripe_price_ids?: string[];
          given_to_users_since?: string | null;
          grace_days?: number | null;
          grant_lifetime_days?: number | null;
          grant_type?: string;
          is_default?: boolean;
          is_offered?: boolean;
          issue_every?: string | null;
          issue_on?: string;
          name: string;
          overdraft_tokens?: number | null;
          paypal_plan_id?: string | null;
          plan_type: string;
          price_cents?: number;
          rank?: number;
          refill_to?: number | null;
          rollover_lifetime_days?: number | null;
          rollover_percent?: number | null;
          rollover_tokens?: number | null;
          storage_gb?: number;
          stripe_price_id?: string | null;
          tokens: number;
          tokens_per_period?: never;
          updated_at?: string;
        };
        Update: {
          articles_limit?: number | null;
          balance_cap?: number | null;
          billing_cycle?: string;
          created_at?: string;
          currency?: string;
          features?: NonNullable<Json>;
          former_paypal_plan_ids?: string[];
          former_stripe_price_ids?: string[];
          given_to_users_since?: string | null;
          grace_days?: number | null;
          grant_lifetime_days?: number | null;
          grant_type?: string;
          is_default?: boolean;
          is_offered?: boolean;
          issue_every?: string | null;
          issue_on?: string;
          name?: string;
          overdraft_tokens?: number | null;
          paypal_plan_id?: string | null;
          plan_type?: string;
          price_cents?: number;
          rank?: number;
          refill_to?: number | null;
          rollover_lifetime_days?: number | null;
          rollover_percent?: number | null;
          rollover_tokens?: number | null;
          storage_gb?: number;
          stripe_price_id?: string | null;
          tokens?: number;
          tokens_per_period?: never;
          updated_at?: string;
        };
        Relationships: [];
      };
      token_spend_caps: {
        Row: {
          actor_id: string | null;
          actor_role: string;
          reason: string | null;
          spend_window: string;
          tokens: number;
          updated_at: string;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          actor_id?: string | null;
          actor_role: string;
          reason?: string | null;
          spend_window: string;
          tokens: number;
          updated_at?: string;
          user_id: string;
        };
        Update: {
          actor_id?: string | null;
          actor_role?: string;
          reason?: string | null;
          spend_window?: string;
          tokens?: number;
          updated_at?: string;
          user_id?: string;
        };
        Relationships: [];
      };
      token_storage_quotas: {
        Row: {
          created_at: string;
          granted_at: string;
          id: string;
          metadata: NonNullable<Json>;
          quota_gb: number;
          subscription_id: string | null;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          created_at?: string;
          granted_at?: string;
          id?: string;
          metadata?: NonNullable<Json>;
          quota_gb: number;
          subscription_id?: string | null;
          user_id: string;
        };
        Update: {
          created_at?: string;
          granted_at?: string;
          id?: string;
          metadata?: NonNullable<Json>;
          quota_gb?: number;
          subscription_id?: string | null;
          user_id?: string;
        };
        Relationships: [];
      };
      token_team_members: {
        Row: {
          cap_day: number | null;
          cap_month: number | null;
          cap_week: number | null;
          member_id: string;
          since: string;
          spent_at: string | null;
          spent_day: number;
          spent_month: number;
          spent_week: number;
          tokens_used: number;
          until: string | null;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          cap_day?: number | null;
          cap_month?: number | null;
          cap_week?: number | null;
          member_id: string;
          since?: string;
          spent_at?: string | null;
          spent_day?: number;
          spent_month?: number;
          spent_week?: number;
          tokens_used?: number;
          until?: string | null;
          user_id: string;
        };
        Update: {
          cap_day?: number | null;
          cap_month?: number | null;
          cap_week?: number | null;
          member_id?: string;
          since?: string;
          spent_at?: string | null;
          spent_day?: number;
          spent_month?: number;
          spent_week?: number;
          tokens_used?: number;
          until?: string | null;
          user_id?: string;
        };
        Relationships: [];
      };
      token_top_up_requests: {
        Row: {
          amount_cents: number | null;
          attempts: number;
          created_at: string;
          currency: string | null;
          customer_id: string | null;
          first_attempt_at: string | null;
          id: string;
          next_attempt_at: string | null;
          pack_type: string | null;
          plan_type: string | null;
          quantity: number;
          reason: string | null;
          settled_at: string | null;
          status: string;
          tokens: number | null;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          amount_cents?: number | null;
          attempts?: number;
          created_at: string;
          currency?: string | null;
          customer_id?: string | null;
          first_attempt_at?: string | null;
          id?: string;
          next_attempt_at?: string | null;
          pack_type?: string | null;
          plan_type?: string | null;
          quantity?: number;
          reason?: string | null;
          settled_at?: string | null;
          status?: string;
          tokens?: number | null;
          user_id: string;
        };
        Update: {
          amount_cents?: number | null;
          attempts?: number;
          created_at?: string;
          currency?: string | null;
          customer_id?: string | null;
          first_attempt_at?: string | null;
          id?: string;
          next_attempt_at?: string | null;
          pack_type?: string | null;
          plan_type?: string | null;
          quantity?: number;
          reason?: string | null;
          settled_at?: string | null;
          status?: string;
          tokens?: number | null;
          user_id?: string;
        };
        Relationships: [
          {
            foreignKeyName: "token_top_up_requests_pack_type_fkey";
            columns: ["pack_type"];
            isOneToOne: false;
            referencedRelation: "token_packs";
            referencedColumns: ["pack_type"];
          },
          {
            foreignKeyName: "token_top_up_requests_plan_type_fkey";
            columns: ["plan_type"];
            isOneToOne: false;
            referencedRelation: "token_plans";
            referencedColumns: ["plan_type"];
          },
        ];
      };
      token_top_ups: {
        Row: {
          below_tokens: number;
          cooldown_seconds: number;
          is_enabled: boolean;
          max_requests: number;
          pack_type: string | null;
          paused_at: string | null;
          plan_type: string | null;
          quantity: number;
          tokens: number | null;
          updated_at: string;
          user_id: string;
          window_seconds: number;
        };
        ComputedFields: never;
        Insert: {
          below_tokens: number;
          cooldown_seconds: number;
          is_enabled: boolean;
          max_requests: number;
          pack_type?: string | null;
          paused_at?: string | null;
          plan_type?: string | null;
          quantity?: number;
          tokens?: number | null;
          updated_at?: string;
          user_id: string;
          window_seconds: number;
        };
        Update: {
          below_tokens?: number;
          cooldown_seconds?: number;
          is_enabled?: boolean;
          max_requests?: number;
          pack_type?: string | null;
          paused_at?: string | null;
          plan_type?: string | null;
          quantity?: number;
          tokens?: number | null;
          updated_at?: string;
          user_id?: string;
          window_seconds?: number;
        };
        Relationships: [
          {
            foreignKeyName: "token_top_ups_pack_type_fkey";
            columns: ["pack_type"];
            isOneToOne: false;
            referencedRelation: "token_packs";
            referencedColumns: ["pack_type"];
          },
          {
            foreignKeyName: "token_top_ups_plan_type_fkey";
            columns: ["plan_type"];
            isOneToOne: false;
            referencedRelation: "token_plans";
            referencedColumns: ["plan_type"];
          },
        ];
      };
      token_transactions: {
        Row: {
          action_type: string;
          actor_id: string | null;
          actor_role: string;
          balance_after: number;
          created_at: string;
          debt_change: number;
          entry_type: string;
          grant_ids: string[];
          grant_tokens: number[];
          hold_id: string | null;
          id: number;
          idempotency_key: string | null;
          member_id: string | null;
          metadata: NonNullable<Json>;
          original_id: number | null;
          payment_id: string | null;
          reason: string | null;
          request: Json | null;
          reserved_change: number;
          terms: Json | null;
          tokens: number;
          usage_id: string | null;
          user_id: string;
          tokens_used: number | null;
        };
        ComputedFields: "tokens_used";
        Insert: {
          action_type: string;
          actor_id?: string | null;
          actor_role: string;
          balance_after: number;
          created_at?: string;
          debt_change?: number;
          entry_type: string;
          grant_ids: string[];
          grant_tokens: number[];
          hold_id?: string | null;
          id: number;
          idempotency_key?: string | null;
          member_id?: string | null;
          metadata?: NonNullable<Json>;
          original_id?: number | null;
          payment_id?: string | null;
          reason?: string | null;
          request?: Json | null;
          reserved_change?: number;
          terms?: Json | null;
          tokens: number;
          usage_id?: string | null;
          user_id: string;
        };
        Update: {
          action_type?: string;
          actor_id?: string | null;
          actor_role?: string;
          balance_after?: number;
          created_at?: string;
          debt_change?: number;
          entry_type?: string;
          grant_ids?: string[];
          grant_tokens?: number[];
          hold_id?: string | null;
          id?: number;
          idempotency_key?: string | null;
          member_id?: string | null;
          metadata?: NonNullable<Json>;
          original_id?: number | null;
          payment_id?: string | null;
          reason?: string | null;
          request?: Json | null;
          reserved_change?: number;
          terms?: Json | null;
          tokens?: number;
          usage_id?: string | null;
          user_id?: string;
        };
        Relationships: [];
      };
      token_usage: {
        Row: {
          action_type: string;
          cached_tokens: number | null;
          cost_estimate: number | null;
          created_at: string;
          error_message: string | null;
          id: string;
          images: number | null;
          input_tokens: number | null;
          member_id: string | null;
          metadata: NonNullable<Json>;
          model_used: string | null;
          output_tokens: number | null;
          reasoning_tokens: number | null;
          seconds: number | null;
          success: boolean;
          tokens_uncovered: number;
          tokens_used: number;
          transaction_id: number | null;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          action_type: string;
          cached_tokens?: number | null;
          cost_estimate?: number | null;
          created_at?: string;
          error_message?: string | null;
          id?: string;
          images?: number | null;
          input_tokens?: number | null;
          member_id?: string | null;
          metadata?: NonNullable<Json>;
          model_used?: string | null;
          output_tokens?: number | null;
          reasoning_tokens?: number | null;
          seconds?: number | null;
          success?: boolean;
          tokens_uncovered?: number;
          tokens_used?: number;
          transaction_id?: number | null;
          user_id: string;
        };
        Update: {
          action_type?: string;
          cached_tokens?: number | null;
          cost_estimate?: number | null;
          created_at?: string;
          error_message?: string | null;
          id?: string;
          images?: number | null;
          input_tokens?: number | null;
          member_id?: string | null;
          metadata?: NonNullable<Json>;
          model_used?: string | null;
          output_tokens?: number | null;
          reasoning_tokens?: number | null;
          seconds?: number | null;
          success?: boolean;
          tokens_uncovered?: number;
          tokens_used?: number;
          transaction_id?: number | null;
          user_id?: string;
        };
        Relationships: [];
      };
    };
    Views: {
      token_counters: {
        Row: {
          user_id: string;
          vibe_assistant_tokens_remaining: number | null;
          vibe_assistant_tokens_used: number;
          vibe_assistant_total_cost: number | null;
        };
        ComputedFields: never;
        Insert: {
          user_id?: string | null;
          vibe_assistant_tokens_remaining?: never;
          vibe_assistant_tokens_used?: number | null;
          vibe_assistant_total_cost?: never;
        };
        Update: {
          user_id?: string | null;
          vibe_assistant_tokens_remaining?: never;
          vibe_assistant_tokens_used?: number | null;
          vibe_assistant_total_cost?: never;
        };
        Relationships: [];
      };
      token_price_ids: {
        Row: {
          is_current: boolean | null;
          pack_type: string | null;
          plan_type: string | null;
          price_id: string | null;
          provider: string | null;
        };
        ComputedFields: never;
        Insert: {
          is_current?: boolean | null;
          pack_type?: string | null;
          plan_type?: string | null;
          price_id?: string | null;
          provider?: string | null;
        };
        Update: {
          is_current?: boolean | null;
          pack_type?: string | null;
          plan_type?: string | null;
          price_id?: string | null;
          provider?: string | null;
        };
        Relationships: [];
      };
      token_subscriptions: {
        Row: {
          articles_limit: number | null;
          auto_renew: boolean | null;
          billing_cycle: string | null;
          cancel_at: string | null;
          created_at: string;
          expires_at: string | null;
          features: Json | null;
          id: string;
          in_force_until: string | null;
          is_active: boolean | null;
          next_plan_type: string | null;
          next_slot_at: string | null;
          payment_id: string | null;
          payment_method: string | null;
          period_start: string | null;
          plan_type: string | null;
          schedule: Json | null;
          status: string | null;
          tokens_limit: number;
          updated_at: string;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          articles_limit?: number | null;
          auto_renew?: boolean | null;
          billing_cycle?: string | null;
          cancel_at?: string | null;
          created_at?: string | null;
          expires_at?: string | null;
          features?: Json | null;
          id?: string | null;
          in_force_until?: string | null;
          is_active?: boolean | null;
          next_plan_type?: string | null;
          next_slot_at?: string | null;
          payment_id?: string | null;
          payment_method?: string | null;
          period_start?: string | null;
          plan_type?: string | null;
          schedule?: Json | null;
          status?: string | null;
          tokens_limit?: number | null;
          updated_at?: string | null;
          user_id?: string | null;
        };
        Update: {
          articles_limit?: number | null;
          auto_renew?: boolean | null;
          billing_cycle?: string | null;
          cancel_at?: string | null;
          created_at?: string | null;
          expires_at?: string | null;
          features?: Json | null;
          id?: string | null;
          in_force_until?: string | null;
          is_active?: boolean | null;
          next_plan_type?: string | null;
          next_slot_at?: string | null;
          payment_id?: string | null;
          payment_method?: string | null;
          period_start?: string | null;
          plan_type?: string | null;
          schedule?: Json | null;
          status?: string | null;
          tokens_limit?: number | null;
          updated_at?: string | null;
          user_id?: string | null;
        };
        Relationships: [];
      };
      token_usage_history: {
        Row: {
          action: string;
          article_id: string | null;
          created_at: string;
          id: number;
          tokens_used: number | null;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          action?: string | null;
          article_id?: never;
          created_at?: string | null;
          id?: number | null;
          tokens_used?: never;
          user_id?: string | null;
        };
        Update: {
          action?: string | null;
          article_id?: never;
          created_at?: string | null;
          id?: number | null;
          tokens_used?: never;
          user_id?: string | null;
        };
        Relationships: [];
      };
    };
    Functions: {
      acknowledge_token_finding: {
        Args: { p_reason: string; p_transaction_id: number; p_user_id: string };
        Returns: Json;
      };
      add_token_team_member: {
        Args: {
          p_cap_day?: number;
          p_cap_month?: number;
          p_cap_week?: number;
          p_member_id: string;
          p_user_id: string;
        };
        Returns: Json;
      };
      adjust_tokens: {
        Args: {
          p_delta: number;
          p_idempotency_key?: string;
          p_metadata?: Json;
          p_reason?: string;
          p_user_id: string;
        };
        Returns: Json;
      };
      approve_token_payment: {
        Args: { p_payment_id: string; p_reason?: string; p_user_id: string };
        Returns: Json;
      };
      arm_token_alerts: { Args: { p_max_accounts?: number }; Returns: number };
      assign_parked_token_payment: {
        Args: {
          p_pack_type?: string;
          p_plan_type?: string;
          p_provider: string;
          p_provider_payment_id: string;
          p_quantity?: number;
          p_user_id: string;
        };
        Returns: Json;
      };
      can_spend_tokens: {
        Args: { p_action_type?: string; p_model_used?: string; p_tokens?: number; p_user_id?: string };
        Returns: boolean;
      };
      capture_tokens: {
        Args: {
          p_cached_tokens?: number;
          p_error_message?: string;
          p_hold_id: string;
          p_images?: number;
          p_input_tokens?: number;
          p_metadata?: Json;
          p_model_used?: string;
          p_output_tokens?: number;
          p_over_capture?: string;
          p_reasoning_tokens?: number;
          p_seconds?: number;
          p_success?: boolean;
          p_tokens?: number;
          p_user_id: string;
        };
        Returns: Json;
      };
      change_token_plan: {
        Args: {
          p_idempotency_key?: string;
          p_payment_id?: string;
          p_payment_method?: string;
          p_plan_type: string;
          p_user_id: string;
        };
        Returns: Json;
      };
      check_token_installation: {
        Args: Record<PropertyKey, never>;
        Returns: {
          finding: string;
          remedy: string;
          status: string;
          subject: string;
        }[];
      };
      check_token_synchronization: {
        Args: { p_limit?: number };
        Returns: {
          difference: number;
          email: string;
          plan_type: string;
          status: string;
          tokens_limit: number;
          tokens_remaining: number;
          user_id: string;
        }[];
      };
      check_token_trial: { Args: { p_user_id: string }; Returns: Json };
      checkpoint_token_ledger: {
        Args: { p_after?: string; p_digest?: string; p_limit?: number; p_user_id?: string };
        Returns: Json;
      };
      claim_token_referral: { Args: { p_referral_code: string; p_user_id?: string }; Returns: Json };
      claim_token_top_ups: {
        Args: { p_lease_seconds?: number; p_limit?: number };
        Returns: {
          amount_cents: number;
          attempt: number;
          created_at: string;
          currency: string;
          customer_id: string;
          fault: string;
          first_attempt_at: string;
          pack_type: string;
          plan_type: string;
          quantity: number;
          request_id: string;
          user_id: string;
        }[];
      };
      claim_token_webhooks: {
        Args: { p_endpoint: string; p_lease_seconds?: number; p_limit?: number };
        Returns: {
          attempt: number;
          claim_id: string;
          created_at: string;
          data: Json;
          delivery_id: number;
          event_id: string;
          kind: string;
          user_id: string;
        }[];
      };
      create_token_code: {
        Args: {
          p_code?: string;
          p_grant_type?: string;
          p_lifetime_days?: number;
          p_max_per_user?: number;
          p_max_redemptions?: number;
          p_name: string;
          p_tokens: number;
          p_valid_from?: string;
          p_valid_until?: string;
        };
        Returns: Json;
      };
      create_token_payment: {
        Args: {
          p_idempotency_key?: string;
          p_pack_type?: string;
          p_quantity?: number;
          p_to_plan?: string;
          p_user_id: string;
        };
        Returns: Json;
      };
      deduct_tokens_batch: { Args: { p_all_or_nothing?: boolean; p_items: Json }; Returns: Json };
      deduct_tokens_with_fifo: {
        Args: {
          p_action_type?: string;
          p_idempotency_key?: string;
          p_metadata?: Json;
          p_tokens_to_deduct: number;
          p_user_id: string;
        };
        Returns: Json;
      };
      dismiss_parked_token_payment: {
        Args: { p_provider: string; p_provider_payment_id: string; p_reason: string };
        Returns: Json;
      };
      end_token_code: { Args: { p_code_id: string; p_reason?: string }; Returns: Json };
      estimate_tokens: {
        Args: {
          p_action_type?: string;
          p_cached_tokens?: number;
          p_images?: number;
          p_input_tokens?: number;
          p_model_used?: string;
          p_output_tokens?: number;
          p_reasoning_tokens?: number;
          p_seconds?: number;
          p_tokens_used?: number;
          p_user_id?: string;
        };
        Returns: Json;
      };
      expire_old_token_grants: { Args: { p_max_accounts?: number }; Returns: number };
      explain_token_charge: {
        Args: { p_transaction_id?: number; p_usage_id?: string; p_user_id?: string };
        Returns: Json;
      };
      find_token_discrepancies: {
        Args: { p_after?: string; p_threshold?: number; p_until?: string };
        Returns: {
          calculated_cost: number;
          calculated_used: number;
          cost_difference: number;
          current_cost: number;
          current_remaining: number;
          current_used: number;
          email: string;
          expected_remaining: number;
          findings: Json;
          remaining_difference: number;
          scenarios: string[];
          since: string;
          used_difference: number;
          user_id: string;
        }[];
      };
      forget_token_user: { Args: { p_limit?: number; p_user_id: string }; Returns: Json };
      get_recent_token_usage: {
        Args: { p_hours?: number; p_limit?: number };
        Returns: {
          action: string;
          created_at: string;
          current_balance: number;
          email: string;
          tokens_used: number;
          user_id: string;
        }[];
      };
      get_token_balance_as_of: { Args: { p_at?: string; p_user_id?: string }; Returns: Json };
      get_token_customer: { Args: { p_provider?: string; p_user_id: string }; Returns: Json };
      get_token_history: { Args: { p_before?: number; p_limit?: number; p_user_id?: string }; Returns: Json };
      get_token_referral_code: { Args: { p_user_id?: string }; Returns: Json };
      get_token_revenue: { Args: { p_bucket?: string; p_from?: string; p_to?: string }; Returns: Json };
      get_token_spend_caps: { Args: { p_user_id?: string }; Returns: Json };
      get_token_usage_by: {
        Args: {
          p_bucket?: string;
          p_by?: string;
          p_cents_per_million_tokens?: number;
          p_for_everyone?: boolean;
          p_from?: string;
          p_to?: string;
          p_user_id?: string;
        };
        Returns: Json;
      };
      get_token_user: { Args: { p_user_id: string }; Returns: Json };
      get_user_storage_quota: { Args: { p_user_id?: string }; Returns: Json };
      get_user_token_balance: { Args: { p_user_id?: string }; Returns: Json };
      get_users_with_high_token_usage: {
        Args: { p_limit?: number };
        Returns: {
          email: string;
          tokens_used: number;
          total_cost_cents: number;
          user_id: string;
        }[];
      };
      get_users_with_low_token_balance: {
        Args: { p_below?: number; p_limit?: number };
        Returns: {
          email: string;
          tokens_remaining: number;
          tokens_used: number;
          user_id: string;
        }[];
      };
      get_users_without_token_balance: {
        Args: { p_after?: string; p_limit?: number };
        Returns: {
          email: string;
          plan_type: string;
          tokens_limit: number;
          user_id: string;
        }[];
      };
      grant_tokens: {
        Args: {
          p_cost_basis_cents?: number;
          p_currency?: string;
          p_expires_at?: string;
          p_grant_type?: string;
          p_granted_at?: string;
          p_idempotency_key?: string;
          p_metadata?: Json;
          p_pays_for?: Json;
          p_priority?: number;
          p_reason?: string;
          p_starts_at?: string;
          p_tokens: number;
          p_user_id: string;
        };
        Returns: Json;
      };
      has_token_plan: { Args: { p_plan_type: string; p_user_id?: string }; Returns: boolean };
      list_parked_token_payments: {
        Args: {
          p_after_created_at?: string;
          p_after_payment_id?: string;
          p_after_provider?: string;
          p_limit?: number;
        };
        Returns: {
          amount_cents: number;
          created_at: string;
          currency: string;
          customer_id: string;
          disputed_cents: number;
          explanation: string;
          pack_type: string;
          parked_details: Json;
          parked_reason: string;
          plan_type: string;
          price_id: string;
          provider: string;
          provider_payment_id: string;
          quantity: number;
          refunded_cents: number;
          user_id: string;
        }[];
      };
      list_token_changes: {
        Args: { p_before?: number; p_limit?: number; p_user_id?: string };
        Returns: Json;
      };
      list_token_codes: { Args: { p_before?: number; p_limit?: number }; Returns: Json };
      list_token_expiries: {
        Args: { p_after?: string; p_to?: string; p_until?: string };
        Returns: {
          day: string;
          grants: number;
          tokens: number;
          users: number;
        }[];
      };
      list_token_team_members: {
        Args: { p_after?: string; p_limit?: number; p_user_id?: string };
        Returns: Json;
      };
      list_token_users: {
        Args: {
          p_after?: string;
          p_descending?: boolean;
          p_limit?: number;
          p_search?: string;
          p_sort?: string;
        };
        Returns: Json;
      };
      list_token_webhook_deliveries: {
        Args: { p_before?: number; p_endpoint?: string; p_limit?: number; p_status?: string };
        Returns: Json;
      };
      list_token_webhook_endpoints: { Args: Record<PropertyKey, never>; Returns: Json };
      list_upcoming_token_grants: { Args: { p_user_id?: string }; Returns: Json };
      prepare_token_checkout: {
        Args: {
          p_idempotency_key?: string;
          p_pack_type?: string;
          p_plan_type?: string;
          p_quantity?: number;
          p_user_id: string;
        };
        Returns: Json;
      };
      reconcile_user_token_balance: { Args: { p_user_id: string }; Returns: Json };
      record_token_payment_event: {
        Args: {
          p_event_id: string;
          p_event_type: string;
          p_facts: Json;
          p_provider: string;
          p_provider_payment_id: string;
        };
        Returns: Json;
      };
      record_token_subscription_event: {
        Args: {
          p_event_id: string;
          p_event_type: string;
          p_facts: Json;
          p_provider: string;
          p_provider_subscription_id: string;
        };
        Returns: Json;
      };
      redeem_token_code: {
        Args: { p_code: string; p_idempotency_key?: string; p_user_id?: string };
        Returns: Json;
      };
      refund_token_payment: {
        Args: { p_payment_id: string; p_reason: string; p_refunded_cents?: number; p_user_id: string };
        Returns: Json;
      };
      refund_tokens: {
        Args: {
          p_expired_policy?: string;
          p_idempotency_key?: string;
          p_lifetime_days?: number;
          p_reason?: string;
          p_tokens?: number;
          p_transaction_id: number;
          p_user_id: string;
        };
        Returns: Json;
      };
      reject_token_payment: {
        Args: { p_payment_id: string; p_reason: string; p_user_id: string };
        Returns: Json;
      };
      release_tokens: { Args: { p_hold_id: string; p_user_id: string }; Returns: Json };
      remove_token_alert_rule: {
        Args: { p_for_everyone?: boolean; p_plan_type?: string; p_rule: string; p_user_id?: string };
        Returns: Json;
      };
      remove_token_team_member: { Args: { p_member_id: string; p_user_id: string }; Returns: Json };
      remove_token_webhook_endpoint: { Args: { p_name: string }; Returns: Json };
      renew_token_subscription: { Args: { p_period_start?: string; p_user_id: string }; Returns: Json };
      repeat_token_webhook_delivery: { Args: { p_delivery_id: number }; Returns: Json };
      replay_token_balances: {
        Args: { p_after?: string; p_until?: string; p_user_id?: string };
        Returns: {
          difference: number;
          exact: number;
          expires_at: string;
          grant_id: string;
          grant_type: string;
          granted_at: string;
          stored: number;
          tokens_granted: number;
          uncovered: number;
          user_id: string;
        }[];
      };
      reserve_tokens: {
        Args: {
          p_action_type?: string;
          p_idempotency_key?: string;
          p_metadata?: Json;
          p_model_used?: string;
          p_parent_hold?: string;
          p_tokens: number;
          p_ttl_seconds?: number;
          p_user_id: string;
        };
        Returns: Json;
      };
      restate_token_balances: {
        Args: { p_idempotency_key?: string; p_reason: string; p_user_id: string };
        Returns: Json;
      };
      retry_token_webhooks: { Args: { p_endpoint: string; p_limit?: number }; Returns: number };
      reverse_token_restatement: {
        Args: { p_idempotency_key?: string; p_reason: string; p_transaction_id: number; p_user_id: string };
        Returns: Json;
      };
      set_token_account_state: {
        Args: { p_reason: string; p_state: string; p_user_id: string };
        Returns: Json;
      };
      set_token_action_cost: {
        Args: { p_action_type: string; p_cost: Json; p_reason: string };
        Returns: Json;
      };
      set_token_alert_rule: {
        Args: {
          p_for_everyone?: boolean;
          p_hours?: number;
          p_is_enabled?: boolean;
          p_kind: string;
          p_notify_recovered?: boolean;
          p_plan_type?: string;
          p_rule: string;
          p_threshold_percent?: number;
          p_threshold_tokens?: number;
          p_user_id?: string;
        };
        Returns: Json;
      };
      set_token_burn_order: { Args: { p_burn_order: string }; Returns: string };
      set_token_customer: {
        Args: {
          p_customer_id: string;
          p_provider: string;
          p_reason?: string;
          p_replace?: boolean;
          p_user_id: string;
        };
        Returns: Json;
      };
      set_token_grant_expiry: {
        Args: {
          p_expires_at: string;
          p_grant_id: string;
          p_idempotency_key?: string;
          p_reason: string;
          p_user_id: string;
        };
        Returns: Json;
      };
      set_token_grant_type: {
        Args: { p_grant_type: string; p_reason: string; p_terms: Json };
        Returns: Json;
      };
      set_token_limit: { Args: { p_name: string; p_value: number }; Returns: Json };
      set_token_model_price: {
        Args: { p_model: string; p_price: Json; p_reason: string; p_source?: string; p_valid_from?: string };
        Returns: Json;
      };
      set_token_model_rate: {
        Args: { p_model_pattern: string; p_rate: Json; p_reason: string; p_valid_from?: string };
        Returns: Json;
      };
      set_token_overdraft: { Args: { p_reason: string; p_tokens: number; p_user_id: string }; Returns: Json };
      set_token_pack: { Args: { p_pack: Json; p_pack_type: string; p_reason: string }; Returns: Json };
      set_token_plan: { Args: { p_plan: Json; p_plan_type: string; p_reason: string }; Returns: Json };
      set_token_referral_policy: {
        Args: {
          p_lifetime_days?: number;
          p_referred_tokens: number;
          p_referrer_tokens: number;
          p_rewards_per_referrer?: number;
        };
        Returns: Json;
      };
      set_token_spend_cap: {
        Args: {
          p_for_everyone?: boolean;
          p_plan_type?: string;
          p_reason?: string;
          p_tokens: number;
          p_user_id?: string;
          p_window: string;
        };
        Returns: Json;
      };
      set_token_subject: {
        Args: {
          p_issuer: string;
          p_reason?: string;
          p_replace?: boolean;
          p_subject: string;
          p_user_id: string;
        };
        Returns: Json;
      };
      set_token_top_up: {
        Args: {
          p_below_tokens?: number;
          p_cooldown_seconds?: number;
          p_is_enabled?: boolean;
          p_max_requests?: number;
          p_pack_type?: string;
          p_plan_type?: string;
          p_quantity?: number;
          p_tokens?: number;
          p_user_id: string;
          p_window_seconds?: number;
        };
        Returns: Json;
      };
      set_token_trial_policy: {
        Args: { p_policy: string; p_reduced_percent?: number; p_reduced_tokens?: number };
        Returns: Json;
      };
      set_token_unknown_model_policy: { Args: { p_policy: string }; Returns: Json };
      set_token_webhook_endpoint: {
        Args: { p_is_enabled?: boolean; p_kinds?: Json; p_name: string; p_url: string };
        Returns: Json;
      };
      settle_token_top_up: {
        Args: { p_outcome: string; p_reason?: string; p_request_id: string; p_user_id: string };
        Returns: Json;
      };
      settle_token_webhook: {
        Args: { p_claim_id: string; p_delivery_id: number; p_error?: string; p_user_id: string };
        Returns: Json;
      };
      token_offer_now: {
        Args: { "": Database["public"]["Tables"]["token_payments"]["Row"] };
        Returns: {
          error: true;
        } & "the function public.token_offer_now with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
      };
      token_payment_disagrees: {
        Args: { "": Database["public"]["Tables"]["token_payments"]["Row"] };
        Returns: {
          error: true;
        } & "the function public.token_payment_disagrees with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
      };
      token_payment_email: {
        Args: { "": Database["public"]["Tables"]["token_payments"]["Row"] };
        Returns: {
          error: true;
        } & "the function public.token_payment_email with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
      };
      tokens_used: {
        Args: { "": Database["public"]["Tables"]["token_transactions"]["Row"] };
        Returns: {
          error: true;
        } & "the function public.tokens_used with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
      };
      track_token_usage: {
        Args: {
          p_action_type?: string;
          p_cached_tokens?: number;
          p_error_message?: string;
          p_idempotency_key?: string;
          p_images?: number;
          p_input_tokens?: number;
          p_metadata?: Json;
          p_model_used?: string;
          p_on_shortage?: string;
          p_output_tokens?: number;
          p_reasoning_tokens?: number;
          p_seconds?: number;
          p_success?: boolean;
          p_tokens_used?: number;
          p_user_id?: string;
        };
        Returns: Json;
      };
      verify_token_checkpoint: {
        Args: { p_after?: string; p_lines: Json; p_until?: string };
        Returns: {
          expected: string;
          found: string;
          grant_id: string;
          invariant: string;
          transaction_id: number;
          user_id: string;
        }[];
      };
      verify_token_ledger: {
        Args: { p_after?: string; p_until?: string; p_user_id?: string };
        Returns: {
          expected: string;
          found: string;
          grant_id: string;
          invariant: string;
          transaction_id: number;
          user_id: string;
        }[];
      };
      void_token_grant: {
        Args: {
          p_grant_id: string;
          p_idempotency_key?: string;
          p_reason?: string;
          p_take_back?: boolean;
          p_user_id: string;
        };
        Returns: Json;
      };
    };
    Enums: {
      [_ in never]: never;
    };
    CompositeTypes: {
      [_ in never]: never;
    };
  };
};

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">;

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">];

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R;
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R;
      }
      ? R
      : never
    : never;

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I;
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I;
      }
      ? I
      : never
    : never;

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U;
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U;
      }
      ? U
      : never
    : never;

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
    : never;

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
    : never;

export const Constants = {
  public: {
    Enums: {},
  },
} as const;
