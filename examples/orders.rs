//! An order book as a replicated machine: bids and asks meet at the best price, the older order first.
//!
//! ```text
//! cargo run --release --example orders -- demo
//! orders client --viewservice 127.0.0.1:7000 command 'Place(side: Buy, price: 101, count: 5)'
//! orders client --viewservice 127.0.0.1:7000 query Best
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use standin::{Context, Machine, RandomStream};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Side {
    Buy,
    Sell,
}

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    /// `count` pieces at `price` or better.
    Place { side: Side, price: u32, count: u32 },
    /// What is left of an order is taken back.
    Cancel { order: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
enum Query {
    /// The best price of each side.
    Best,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Reply {
    /// The order has this number, and so many of its pieces found a partner at once.
    Placed {
        order: u64,
        traded: u32,
    },
    /// So many pieces are taken back.
    Cancelled {
        count: u32,
    },
    Best {
        buy: Option<u32>,
        sell: Option<u32>,
    },
}

/// An order's place among all: price first, then age. Bids have their price turned round, so the best comes first.
type Place = (u32, u64);

#[derive(Clone, Default, Serialize, Deserialize)]
struct Orders {
    bids: BTreeMap<Place, u32>,
    asks: BTreeMap<Place, u32>,
    traded: u64,
}

impl Orders {
    fn place(&mut self, order: u64, side: Side, price: u32, count: u32) -> u32 {
        let (own, others) = match side {
            Side::Buy => (&mut self.bids, &mut self.asks),
            Side::Sell => (&mut self.asks, &mut self.bids),
        };
        let mut left = count;
        while left > 0
            && let Some(mut best) = others.first_entry()
            && crosses(side, price, best.key().0)
        {
            let traded = left.min(*best.get());
            left -= traded;
            *best.get_mut() -= traded;
            if *best.get() == 0 {
                best.remove();
            }
        }
        if left > 0 {
            own.insert((turned(side, price), order), left);
        }
        self.traded += u64::from(count - left);
        count - left
    }

    fn cancel(&mut self, order: u64) -> u32 {
        let mut count = 0;
        for book in [&mut self.bids, &mut self.asks] {
            let place = book.keys().find(|(_, own)| *own == order).copied();
            count += place.and_then(|place| book.remove(&place)).unwrap_or(0);
        }
        count
    }
}

/// The price as it stands in its own side's book.
fn turned(side: Side, price: u32) -> u32 {
    match side {
        Side::Buy => u32::MAX - price,
        Side::Sell => price,
    }
}

/// Whether an order meets what stands first in the other book.
fn crosses(side: Side, price: u32, other: u32) -> bool {
    match side {
        Side::Buy => other <= price,
        Side::Sell => u32::MAX - other >= price,
    }
}

impl Machine for Orders {
    const NAME: &'static str = "orders";
    const VERSION: u32 = 1;
    type Command = Command;
    type Query = Query;
    type Reply = Reply;

    fn apply(&mut self, ctx: &mut Context<'_>, command: Command) -> Reply {
        match command {
            Command::Place { side, price, count } => {
                // No two entries have the same index, so it serves as the order's number.
                let order = ctx.index().0;
                let traded = self.place(order, side, price, count);
                Reply::Placed { order, traded }
            }
            Command::Cancel { order } => {
                let count = self.cancel(order);
                Reply::Cancelled { count }
            }
        }
    }

    fn query(&self, Query::Best: Query) -> Reply {
        let buy = self.bids.keys().next().map(|(price, _)| u32::MAX - price);
        let sell = self.asks.keys().next().map(|(price, _)| *price);
        Reply::Best { buy, sell }
    }

    fn draw_command(random: &mut RandomStream, last: Option<&Reply>) -> Command {
        let mut below = |bound| u32::try_from(random.below(bound)).unwrap_or(0);
        match (below(10), last) {
            (0, Some(&Reply::Placed { order, .. })) => Command::Cancel { order },
            (kind, _) => Command::Place {
                side: [Side::Buy, Side::Sell][usize::from(kind < 5)],
                price: 95 + below(11),
                count: 1 + below(5),
            },
        }
    }

    fn draw_query(_random: &mut RandomStream) -> Query {
        Query::Best
    }
}

fn main() -> ExitCode {
    standin::cli::main_with::<Orders>()
}

#[cfg(test)]
mod tests {
    use standin::Solo;

    use super::*;

    fn place(orders: &mut Solo<Orders>, side: Side, price: u32, count: u32) -> (u64, u32) {
        match orders.command(&Command::Place { side, price, count }) {
            Reply::Placed { order, traded } => (order, traded),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_best_price_trades_first_and_then_the_oldest() {
        let mut orders = Solo::<Orders>::new();
        let (old, _) = place(&mut orders, Side::Sell, 100, 3);
        let (young, _) = place(&mut orders, Side::Sell, 100, 3);
        place(&mut orders, Side::Sell, 99, 1);
        assert_eq!(place(&mut orders, Side::Buy, 98, 1).1, 0);
        let (buy, sell) = (Some(98), Some(99));
        assert_eq!(orders.query(&Query::Best), Reply::Best { buy, sell });
        assert_eq!(place(&mut orders, Side::Buy, 100, 3).1, 3);
        let count = 1;
        assert_eq!(
            orders.command(&Command::Cancel { order: old }),
            Reply::Cancelled { count }
        );
        let count = 3;
        assert_eq!(
            orders.command(&Command::Cancel { order: young }),
            Reply::Cancelled { count }
        );
        assert_eq!(orders.machine().traded, 3);
    }

    #[test]
    fn what_finds_no_partner_stays() {
        let mut orders = Solo::<Orders>::new();
        assert_eq!(place(&mut orders, Side::Buy, 10, 5).1, 0);
        assert_eq!(place(&mut orders, Side::Sell, 9, 7).1, 5);
        let (buy, sell) = (None, Some(9));
        assert_eq!(orders.query(&Query::Best), Reply::Best { buy, sell });
    }

    #[test]
    fn it_holds_under_faults() {
        standin::simulate::<Orders>(1..=20).assert_holds();
    }
}
