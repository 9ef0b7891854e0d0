//! Scenarios in virtual time: each row of section 7 of the protocol, and each bug that the simulator
//! found. All properties are watched at every step.

use std::ops::RangeInclusive;

use standin_core::identity::Durability::{Disk, Memory, Os};
use standin_tools::simulate::{Ledger, Scene};

type Cluster = Scene<Ledger>;

// Section 7: who may come back alone.

#[test]
fn when_both_die_at_once_either_may_come_back_alone() {
    for durability in [Os, Disk] {
        for name in ["a", "b"] {
            let mut scene = Cluster::new(2, durability);
            scene.call();
            scene.kill("a");
            scene.kill("b");
            scene.start(name);
            scene.until_primary(name);
            scene.call();
            scene.end();
        }
    }
}

#[test]
fn when_the_backup_dies_and_then_the_primary_before_its_drop_lands_either_may_come_back_alone() {
    for name in ["a", "b"] {
        let mut scene = Cluster::new(2, Os);
        scene.call();
        scene.kill("b");
        scene.run_for(scene.term() / 4);
        assert_eq!(scene.backup().as_deref(), Some("b"), "not dropped yet");
        scene.kill("a");
        scene.start(name);
        scene.until_primary(name);
        scene.call();
        scene.end();
    }
}

#[test]
fn when_the_backup_was_dropped_and_the_primary_dies_only_the_primary_may_come_back_alone() {
    for durability in [Memory, Os, Disk] {
        let mut scene = Cluster::new(2, durability);
        scene.kill("b");
        scene.until_alone();
        scene.call();
        scene.lose_power("a");
        scene.start("b");
        scene.until_unavailable("start a (");
        scene.start("a");
        scene.until_primary("a");
        scene.until_backup("b");
        scene.call();
        scene.end();
    }
}

#[test]
fn when_the_primary_dies_and_the_candidate_dies_before_it_activates_either_may_come_back_alone() {
    for name in ["a", "b"] {
        let mut scene = Cluster::new(2, Os);
        scene.call();
        scene.kill("a");
        scene.until("a candidate", |scene| {
            scene.candidate().as_deref() == Some("b")
        });
        scene.kill("b");
        scene.start(name);
        scene.until_primary(name);
        scene.call();
        scene.end();
    }
}

#[test]
fn when_the_successor_has_activated_and_dies_only_it_may_come_back_alone() {
    let mut scene = Cluster::new(2, Os);
    scene.call();
    scene.kill("a");
    scene.until_primary("b");
    scene.call();
    scene.lose_power("b");
    scene.start("a");
    scene.until_unavailable("start b (");
    scene.start("b");
    scene.until_primary("b");
    scene.until_backup("a");
    scene.end();
}

#[test]
fn when_both_lose_power_while_paired_nobody_may_come_back_unless_the_disks_have_all() {
    for durability in [Memory, Os] {
        let mut scene = Cluster::new(2, durability);
        scene.call();
        scene.lose_power("a");
        scene.lose_power("b");
        scene.start("a");
        scene.start("b");
        scene.until_unavailable("recover");
    }
    let mut scene = Cluster::new(2, Disk);
    scene.call();
    scene.lose_power("a");
    scene.lose_power("b");
    scene.start("b");
    scene.until_primary("b");
    scene.call();
    scene.end();
}

#[test]
fn a_replaced_disk_does_not_come_back_alone() {
    let mut scene = Cluster::new(2, Disk);
    scene.call();
    scene.kill("b");
    scene.until_alone();
    scene.call();
    scene.replace_disk("a");
    scene.start("a");
    scene.start("b");
    scene.until_unavailable("a");
}

// Section 7, where it ends in Force.

/// Both have lost their power at this level, and both are back.
fn lose_both(replicas: usize, durability: standin_core::identity::Durability) -> Cluster {
    let mut scene = Cluster::new(replicas, durability);
    for _ in 0..5 {
        scene.call();
    }
    scene.run_for(scene.term());
    scene.lose_power("a");
    scene.lose_power("b");
    scene.start("a");
    scene.start("b");
    scene.until_unavailable("recover");
    scene
}

#[test]
fn when_both_have_lost_power_the_operator_may_force_either() {
    for durability in [Memory, Os] {
        for name in ["a", "b"] {
            let mut scene = lose_both(2, durability);
            scene.recover(name).unwrap();
            scene.until_primary(name);
            assert_eq!(scene.data_epoch(), 1);
            scene.until("a pair", |scene| scene.backup().is_some());
            scene.call();
            scene.end();
        }
    }
}

#[test]
fn when_both_have_lost_power_a_spare_that_was_not_there_may_be_forced_and_the_others_begin_anew() {
    for durability in [Memory, Os] {
        let mut scene = Cluster::new(3, durability);
        scene.call();
        scene.until("c in the view", |scene| scene.has_adopted("c"));
        scene.kill("c");
        for _ in 0..5 {
            scene.call();
        }
        scene.run_for(scene.term());
        scene.lose_power("a");
        scene.lose_power("b");
        for name in ["a", "b", "c"] {
            scene.start(name);
        }
        scene.until_unavailable("recover");
        scene.recover("c").unwrap();
        scene.until_primary("c");
        scene.until("a pair", |scene| scene.backup().is_some());
        scene.run_for(scene.term());
        assert!(scene.logs_set_aside() > 0, "{durability}");
        scene.call();
        assert_eq!(scene.answers_lost(), 1, "it had seen more than c has");
        scene.call();
        assert_eq!(scene.answers_lost(), 1, "it is told once");
        scene.end();
    }
}

#[test]
fn when_the_one_holder_is_gone_for_good_the_operator_may_force_who_is_left() {
    for durability in [Memory, Os, Disk] {
        let mut scene = Cluster::new(2, durability);
        scene.call();
        scene.kill("b");
        scene.until_alone();
        scene.command();
        scene.kill("a");
        scene.start("b");
        scene.until_unavailable("start a (");
        scene.recover("b").unwrap();
        scene.until_primary("b");
        scene.call();
        assert_eq!(scene.answers_lost(), 1);
        // It comes back after all: what it alone had is lost.
        scene.start("a");
        scene.until_backup("a");
        assert_eq!(scene.logs_set_aside(), 1);
        scene.kill("b");
        scene.until_primary("a");
        scene.call();
        scene.end();
    }
}

#[test]
fn a_forced_candidate_that_dies_before_it_activates_is_named_again_in_its_next_life() {
    let mut scene = lose_both(2, Os);
    scene.recover("a").unwrap();
    scene.kill("a");
    scene.start("a");
    scene.until_primary("a");
    scene.until_backup("b");
    assert_eq!(scene.data_epoch(), 1);
    scene.call();
    scene.end();
}

#[test]
fn a_forced_candidate_that_loses_its_power_before_it_activates_must_be_forced_again() {
    let mut scene = lose_both(2, Os);
    scene.recover("a").unwrap();
    scene.lose_power("a");
    scene.start("a");
    scene.until_unavailable("recover");
    scene.recover("b").unwrap();
    scene.until_primary("b");
    scene.until_backup("a");
    assert_eq!(scene.data_epoch(), 2);
    scene.call();
    scene.end();
}

#[test]
fn an_old_copy_of_the_only_disk_serves_once_the_operator_accepts_the_loss() {
    let mut scene = Cluster::new(2, Disk);
    let copy = scene.copy_disk("b");
    scene.call();
    scene.call();
    scene.run_for(scene.term());
    scene.kill("a");
    scene.kill("b");
    scene.put_back("b", &copy);
    scene.start("b");
    scene.until_unavailable("b is an old copy");
    scene.recover("b").unwrap();
    scene.until_primary("b");
    scene.start("a");
    scene.until_backup("a");
    scene.call();
}

/// Sections 7 and 12: what it had acknowledged made it a holder, though it had not read so.
#[test]
fn rot_in_the_log_of_a_holder_that_has_not_read_its_join_is_damage() {
    for has_read in [true, false] {
        let mut scene = Cluster::new(2, Disk);
        scene.kill("b");
        scene.until_alone();
        for _ in 0..10 {
            scene.call();
        }
        scene.start("b");
        if !has_read {
            scene.until("b in the view", |scene| scene.has_adopted("b"));
            scene.cut_from_service("b");
        }
        scene.until_backup("b");
        if has_read {
            scene.until("b in the view", |scene| scene.has_adopted("b"));
        }
        assert_eq!(scene.has_adopted("b"), has_read);
        scene.lose_power("a");
        scene.lose_power("b");
        scene.rot("b", 700);
        scene.restart_view_service();
        scene.mend_links();
        assert!(
            !scene.start_or_be_refused("b"),
            "it may have been relied on"
        );
        scene.start("a");
        // Who has what is missing mends it: then both have everything.
        scene.until("a pair", |scene| {
            scene.primary().is_some() && scene.backup().is_some()
        });
        assert_eq!(scene.mended(), (1, 0));
        scene.call();
    }
}

#[test]
fn nobody_is_forced_where_nothing_need_be_lost() {
    let mut scene = Cluster::new(3, Os);
    scene.call();
    let refused = scene.recover("c").unwrap_err();
    assert!(refused.contains("a holds the lease"), "{refused}");
    scene.kill("a");
    scene.until("a candidate", |scene| scene.candidate().is_some());
    let refused = scene.recover("c").unwrap_err();
    assert!(refused.contains("nothing need be lost"), "{refused}");
    scene.until_primary("b");
    scene.call();
    assert_eq!(scene.data_epoch(), 0);
    scene.end();
}

// Damaged logs.

/// A cluster with some entries in all logs.
fn with_entries(replicas: usize, durability: standin_core::identity::Durability) -> Cluster {
    let mut scene = Cluster::new(replicas, durability);
    for _ in 0..12 {
        scene.call();
    }
    scene
}

#[test]
fn a_backups_damaged_log_is_mended_from_the_primary() {
    let mut scene = with_entries(2, Disk);
    scene.kill("b");
    scene.rot("b", 300);
    scene.start("b");
    assert!(scene.is_mending("b"));
    scene.until("b mended", |scene| !scene.is_mending("b"));
    assert_eq!(scene.mended(), (1, 0));
    scene.call();
    scene.until_backup("b");
    scene.call();
    scene.end();
}

#[test]
fn two_holders_that_are_damaged_at_different_places_mend_each_other() {
    let mut scene = with_entries(2, Disk);
    scene.lose_power("a");
    scene.lose_power("b");
    scene.rot("a", 300);
    scene.rot("b", 900);
    scene.start("a");
    assert!(scene.is_mending("a"));
    scene.until_unavailable("start b");
    scene.start("b");
    scene.until("both mended", |scene| {
        !scene.is_mending("a") && !scene.is_mending("b")
    });
    scene.until("a pair", |scene| {
        scene.primary().is_some() && scene.backup().is_some()
    });
    assert_eq!(scene.mended(), (2, 0));
    scene.call();
    scene.end();
}

#[test]
fn a_spare_mends_the_only_holder() {
    let mut scene = with_entries(3, Os);
    scene.kill("b");
    scene.until("another pair", |scene| {
        scene.backup().as_deref() == Some("c")
    });
    scene.kill("c");
    scene.until_alone();
    scene.kill("a");
    scene.rot("a", 300);
    scene.start("a");
    assert!(scene.is_mending("a"));
    scene.until_unavailable("a is out of service");
    scene.start("b");
    scene.until_primary("a");
    scene.call();
    scene.end();
}

#[test]
fn the_only_holder_is_left_as_it_is_where_nobody_has_what_is_missing() {
    let mut scene = with_entries(2, Os);
    scene.kill("b");
    scene.until_alone();
    for _ in 0..6 {
        scene.call();
    }
    scene.kill("a");
    scene.lose_log("a");
    scene.start("a");
    scene.start("b");
    scene.until_unavailable("a is out of service");
    assert!(scene.is_mending("a"));
    assert_eq!(scene.mended(), (0, 0));
    // The operator gives up what only a had; then nobody counts on that any more.
    assert!(scene.recover("a").is_err());
    scene.recover("b").expect("b may be named");
    scene.until_primary("b");
    scene.until_backup("a");
    assert_eq!(scene.mended(), (0, 1));
}

#[test]
fn a_backup_that_lost_its_log_joins_anew_once_the_primary_has_dropped_it() {
    let mut scene = with_entries(2, Disk);
    scene.kill("b");
    scene.lose_log("b");
    scene.start("b");
    scene.until_alone();
    scene.until_backup("b");
    assert_eq!(scene.mended(), (0, 1));
    scene.kill("a");
    scene.until_primary("b");
    scene.call();
    scene.end();
}

// Bugs that the simulator found.

/// Seed 4545: it was counted as the holder that it had been before it stopped, under a token that
/// still stood when what it had acknowledged since was lost. Section 2: only the token in the record
/// counts.
#[test]
fn a_backup_that_stopped_cleanly_and_came_back_is_counted_only_under_its_new_token() {
    for durability in [Memory, Os] {
        let mut scene = Cluster::new(2, durability);
        scene.call();
        scene.stop("b");
        scene.reboot("b");
        scene.start("b");
        scene.command();
        scene.command();
        scene.lose_power("b");
        scene.kill("a");
        scene.start("b");
        scene.run_for(scene.term() * 8);
        assert_ne!(
            scene.primary().as_deref(),
            Some("b"),
            "it lacks what was answered"
        );
        scene.start("a");
        scene.until("a primary", |scene| {
            scene.primary().is_some() || durability == Memory
        });
    }
}

/// Seed 12564: the spare with the first name was tried again and again. L2.
#[test]
fn a_spare_whose_disk_hangs_does_not_keep_another_from_becoming_the_backup() {
    let mut scene = Cluster::new(3, Disk);
    scene.call();
    scene.kill("a");
    scene.until("a candidate", |scene| {
        scene.candidate().as_deref() == Some("b")
    });
    scene.pause("b", scene.term() / 2);
    scene.start("a");
    scene.until("a in the new view", |scene| scene.has_adopted("a"));
    assert_eq!(scene.primary(), None, "not before its disk hangs");
    scene.stall_disk("a");
    scene.pause("c", scene.term() * 3 / 2);
    scene.until_primary("b");
    scene.run_for(scene.term() / 2);
    assert_eq!(scene.backup(), None, "a is tried in vain");
    scene.until_backup("c");
    scene.call();
    scene.end();
}

/// Cuts the primary off in one direction, or in both, and sees the backup stand in.
fn depose_a_primary_that_is_cut_off(from_it: bool, to_it: bool) {
    let mut scene = Cluster::new(2, Os);
    scene.call();
    scene.cut_off("a", from_it, to_it);
    scene.until_primary("b");
    scene.call();
    scene.mend_links();
    scene.until_backup("a");
    scene.end();
}

/// Seed 744: it took its backup for silent, dropped it, and nobody could take over from it. L1.
#[test]
fn a_primary_that_can_speak_but_not_hear_is_deposed() {
    depose_a_primary_that_is_cut_off(false, true);
}

/// One that can hear but not speak does not keep its role either. L1.
#[test]
fn a_primary_that_can_hear_but_not_speak_is_deposed() {
    depose_a_primary_that_is_cut_off(true, false);
}

#[test]
fn a_primary_that_can_neither_hear_nor_speak_is_deposed() {
    depose_a_primary_that_is_cut_off(true, true);
}

/// Seed 844: it looked as good as new once it had adopted the newest view. Section 7.
#[test]
fn an_older_copy_of_a_disk_does_not_become_primary() {
    let mut scene = Cluster::new(2, Disk);
    let copy = scene.copy_disk("b");
    scene.call();
    scene.call();
    scene.run_for(scene.term());
    scene.kill("a");
    scene.kill("b");
    scene.put_back("b", &copy);
    scene.start("b");
    scene.until_unavailable("b is an old copy");
    scene.start("a");
    scene.until_primary("a");
    scene.call();
    scene.end();
}

/// What the failing sync draws from. Some draws leave a gap in the log, and that is for people.
const DRAWS: RangeInclusive<u64> = 1..=40;
/// So many draws, at least, leave none.
const WHOLE_MIN: usize = 6;

/// A pair at `os`; a's backup dies, and when a syncs before it drops it, its disk forgets what it had been
/// given and has no room for a note of that. Its process has to tell the view service, if that hears it.
fn fail_without_a_note(draw: u64) -> Cluster {
    let mut scene = Cluster::new(2, Os);
    scene.call();
    scene.call();
    scene.fail_sync_without_a_note("a", draw);
    scene.kill("b");
    scene
}

/// Seed 516788: the process ended, the next one in the same boot passed for a holder, and it became
/// primary without entries that were answered. Sections 2 and 12.
#[test]
fn a_disk_failure_that_cannot_be_noted_is_kept_by_the_view_service() {
    let mut whole = 0;
    for draw in DRAWS {
        let mut scene = fail_without_a_note(draw);
        scene.until("a's last words", |scene| scene.is_failed("a"));
        scene.until("a heard", |scene| !scene.is_failed("a"));
        scene.mend_disk("a");
        if !scene.start_or_be_refused("a") {
            continue;
        }
        whole += 1;
        scene.until_unavailable("start b (the disk of a failed");
        scene.start("b");
        scene.until_primary("b");
        scene.call();
        scene.until_backup("a");
        scene.call();
        scene.end();
    }
    assert!(whole >= WHOLE_MIN, "{whole} draws left no gap");
}

/// Seed 516788, with the view service out of reach.
#[test]
fn a_disk_failure_that_cannot_be_noted_keeps_its_process_until_the_view_service_hears_of_it() {
    let mut whole = 0;
    for draw in DRAWS {
        let mut scene = fail_without_a_note(draw);
        scene.cut_off("a", true, true);
        scene.until("a's last words", |scene| scene.is_failed("a"));
        scene.run_for(scene.term() * 8);
        assert!(scene.is_failed("a"), "nobody has heard it");
        scene.restart_view_service();
        scene.mend_links();
        scene.until("a heard", |scene| !scene.is_failed("a"));
        scene.restart_view_service();
        scene.mend_disk("a");
        if !scene.start_or_be_refused("a") {
            continue;
        }
        whole += 1;
        scene.until_unavailable("start b (");
        scene.start("b");
        scene.until_primary("b");
        scene.call();
        scene.until_backup("a");
        scene.end();
    }
    assert!(whole >= WHOLE_MIN, "{whole} draws left no gap");
}

#[test]
fn a_paused_primary_answers_nothing_that_it_should_not_when_it_wakes_up() {
    let mut scene = Cluster::new(3, Os);
    scene.call();
    scene.pause("a", scene.term() * 3);
    scene.until_primary("b");
    scene.call();
    scene.run_for(scene.term() * 4);
    scene.call();
    scene.end();
}

#[test]
fn a_restarted_view_service_deposes_nobody_who_is_well() {
    let mut scene = Cluster::new(2, Os);
    scene.call();
    scene.restart_view_service();
    scene.run_for(scene.term() * 4);
    assert_eq!(scene.primary().as_deref(), Some("a"));
    assert_eq!(scene.backup().as_deref(), Some("b"));
    scene.call();
    scene.end();
}

/// The pair goes on without it. When it is heard again, neither is the backup taken for lost nor the
/// primary's lapsed lease for its death, whoever of the two comes first (sections 3, 6).
#[test]
fn a_view_service_that_was_cut_off_breaks_no_healthy_pair_when_it_is_heard_again() {
    for terms in [2, 7] {
        for shift in 0..20 {
            let mut scene = Cluster::new(2, Os);
            scene.call();
            scene.run_for(scene.term() * shift / 40);
            let view = scene.view();
            scene.cut_from_service("a");
            scene.cut_from_service("b");
            scene.run_for(scene.term() * terms);
            scene.call();
            scene.mend_links();
            scene.run_for(scene.term() * 8);
            assert_eq!(scene.view(), view, "{terms} terms, shift {shift}");
            scene.call();
            scene.end();
        }
    }
}

/// Section 6: it acknowledges, but could not take over.
#[test]
fn a_backup_that_only_the_view_service_does_not_see_is_replaced() {
    let mut scene = Cluster::new(3, Os);
    scene.call();
    scene.cut_from_service("b");
    scene.until_backup("c");
    assert_eq!(scene.primary().as_deref(), Some("a"));
    scene.call();
    scene.end();
}

/// Section 3: nobody waits longer for a takeover because of what a view service that hears nobody
/// must do.
#[test]
fn a_primary_that_dies_is_replaced_as_soon_as_its_lease_has_run_out() {
    for shift in 0..10 {
        let mut scene = Cluster::new(2, Os);
        scene.call();
        scene.run_for(scene.term() * shift / 40);
        scene.kill("a");
        scene.run_for(scene.term() * 11 / 10);
        assert_eq!(scene.primary().as_deref(), Some("b"), "shift {shift}");
        scene.call();
        scene.end();
    }
}

#[test]
fn a_pair_changes_places_again_and_again_and_either_may_die_afterwards() {
    for durability in [Memory, Os, Disk] {
        for dies in ["a", "b"] {
            let mut scene = Cluster::new(2, durability);
            for (from, to) in [("a", "b"), ("b", "a"), ("a", "b")] {
                scene.call();
                scene.switch_over(from);
                scene.until_primary(to);
                scene.call();
                assert_eq!(scene.backup().as_deref(), Some(from));
            }
            scene.kill(dies);
            scene.call();
            scene.end();
        }
    }
}

#[test]
fn if_whoever_was_handed_the_view_dies_before_it_serves_the_old_primary_takes_it_back() {
    let mut scene = Cluster::new(2, Os);
    scene.call();
    scene.switch_over("a");
    scene.until("the view to be handed over", Cluster::is_handed_over);
    scene.kill("b");
    scene.until_primary("a");
    scene.call();
    scene.end();
}

#[test]
fn if_the_old_primary_dies_as_it_hands_over_the_new_one_goes_on_alone() {
    let mut scene = Cluster::new(2, Os);
    scene.call();
    scene.switch_over("a");
    scene.until("the view to be handed over", Cluster::is_handed_over);
    scene.kill("a");
    scene.until_primary("b");
    scene.call();
    assert_eq!(scene.backup(), None);
    scene.end();
}

#[test]
fn nobody_waits_for_a_lease_or_for_silence_when_a_replica_leaves() {
    let mut scene = Cluster::new(3, Os);
    scene.call();
    for name in ["a", "b", "c"] {
        // Whoever has just become primary or backup has still to hear of it.
        scene.run_for(scene.term());
        let begun = scene.now();
        scene.leave(name);
        scene.call();
        let took = scene.now().since(begun);
        assert!(took < scene.term() / 4, "{name}: {took:?}");
        scene.until("a pair", |scene| scene.backup().is_some());
    }
    scene.end();
}
