//! One suite for every store: what is true of one is true of all.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "the rules are tests too")]

mod answers;
mod budgets;
mod channels;
mod deliveries;
mod durability;
mod facts;
mod intents;
mod interposed;
mod kill_points;
mod lanes;
mod marks;
mod members;
mod model;
mod owed;
mod purchases;
mod races;
mod records;
mod reservations;
mod settlements;
mod stores;

/// The rules for a store, each a test by its name.
macro_rules! conformance {
    // A server takes longer to start than all rules to check: one for all, an empty database for each.
    (postgres: $($module:ident::$rule:ident,)*) => {
        #[tokio::test]
        async fn every_rule_holds_on_postgres() {
            let Some(server) = stores::server().await else { return };
            $(
                eprintln!("postgres: {}", stringify!($rule));
                $module::$rule(&*stores::postgres(&server).await.ledger).await;
            )*
        }
    };
    ($store:ident: $($module:ident::$rule:ident,)*) => {
        mod $store {
            $(
                #[tokio::test]
                async fn $rule() {
                    crate::$module::$rule(&*crate::stores::$store().await.ledger).await;
                }
            )*
        }
    };
}

macro_rules! every_rule {
    ($store:ident) => {
        conformance! { $store:
            members::a_start_under_a_name_ends_the_one_before,
            members::a_late_member_lives_on_unless_somebody_took_over,
            members::who_leaves_frees_what_it_holds_at_once,
            reservations::a_key_is_claimed_once_and_a_released_one_is_free_again,
            reservations::another_request_finds_the_key_taken,
            reservations::what_did_not_come_to_an_end_is_claimed_again_and_rests_as_before_when_released,
            reservations::a_delivered_one_is_told_with_its_answer_while_that_lasts,
            reservations::the_dead_are_taken_over_from_and_can_write_nothing_more,
            reservations::a_member_does_not_take_over_from_itself,
            reservations::a_finish_is_repeated_or_corrected_until_another_has_it,
            reservations::an_identifier_names_one_payment_for_as_long_as_it_is_kept,
            reservations::what_is_past_its_time_counts_as_not_there,
            reservations::a_full_ledger_denies,
            reservations::sweeping_takes_the_oldest_and_leaves_the_held_and_the_owed,
            owed::what_is_owed_is_taken_by_one_at_a_time,
            owed::the_limits_hold_against_all_that_is_owed,
            owed::a_debt_is_not_forgotten_by_presenting_again,
            settlements::an_accepted_payment_is_found_by_who_comes_second,
            settlements::a_failed_payment_begins_anew_and_keeps_its_transactions,
            settlements::something_else_under_the_same_key_is_told,
            settlements::a_step_needs_the_current_attempt_and_a_payment_that_has_not_ended,
            settlements::lists_are_newest_first_and_page,
            settlements::the_unfinal_are_found_until_they_are_final,
            settlements::orphans_are_adopted_but_not_those_of_a_lane,
            lanes::a_lane_has_one_holder_and_its_token_grows,
            lanes::who_lost_the_lane_can_write_no_transaction,
            lanes::a_transaction_is_written_with_all_its_payments_or_not_at_all,
            lanes::who_takes_a_lane_takes_its_payments,
            lanes::what_is_final_stays_final,
            deliveries::a_delivery_comes_with_its_outcome_and_is_tried_until_it_is_over,
            deliveries::a_secret_is_made_once,
            marks::a_mark_is_fresh_once_until_its_time,
            marks::sweeping_takes_the_marks_that_are_past_oldest_first,
            purchases::a_purchase_is_written_by_who_has_read_it_as_it_is,
            purchases::a_purchase_that_is_due_is_taken_by_one_at_a_time,
            purchases::purchases_are_listed_in_order_and_forgotten_after_their_time,
            intents::an_intent_is_opened_once_by_its_name_and_its_key,
            intents::a_closed_intent_is_known_while_it_repeats_and_then_gives_up_its_key,
            intents::an_intent_is_written_by_who_has_read_it_as_it_is,
            intents::an_intent_is_held_by_one_living_member,
            intents::intents_that_are_due_are_taken_by_one_at_a_time,
            intents::intents_are_listed_in_both_orders_and_page,
            intents::closed_intents_are_forgotten_after_their_time_and_stay_counted,
            budgets::no_hold_goes_above_its_limit_and_nothing_is_half_counted,
            budgets::what_is_released_is_released_once,
            budgets::a_change_releases_first_and_is_all_or_nothing,
            budgets::windows_are_listed_by_prefix_and_forgotten_after_their_end,
            budgets::every_budget_is_the_sum_of_what_is_held_and_within_its_limit,
            facts::a_fact_is_written_by_who_has_read_it_as_it_is,
            facts::facts_are_listed_by_name_and_forgotten_after_their_time,
            facts::an_intent_is_opened_only_while_its_conditions_hold,
            channels::a_channel_is_written_by_who_has_read_it_as_it_is,
            channels::a_charge_is_written_once_by_who_has_read_the_channel_as_it_is,
            channels::an_answer_is_that_of_the_latest_charge_or_none,
            channels::a_channel_that_is_held_is_written_by_its_living_holder_alone,
            channels::who_is_dead_or_past_its_time_holds_no_channel,
            channels::a_channel_that_is_due_is_taken_by_one_at_a_time,
            channels::channels_are_listed_in_order_and_removed,
            channels::amounts_are_kept_to_the_last_unit,
            channels::charges_at_once_have_one_winner_a_channel,
            answers::an_answer_outlasts_all_that_is_written_after_it,
        }
    };
}

every_rule!(memory);
every_rule!(sqlite);
every_rule!(postgres);
