//! Prints the graph of a trip that is booked whole or not at all.

use std::io::Write;

use backstay_saga::{Attempt, Saga, StepError, UndoError, Version};
use serde::{Deserialize, Serialize};

type Cx = backstay_saga::Cx<Services, TripRequest>;

struct Services;

#[derive(Serialize, Deserialize)]
struct TripRequest {
    city: String,
}

#[derive(Serialize, Deserialize)]
struct Hold(String);

#[derive(Serialize, Deserialize)]
struct Seat(u32);

#[derive(Serialize, Deserialize)]
struct Receipt(String);

async fn hold_room(cx: Cx) -> Result<Hold, StepError> {
    Ok(Hold(cx.input().city.clone()))
}

async fn release_room(_cx: Cx, _attempt: Attempt<Hold>) -> Result<(), UndoError> {
    Ok(())
}

async fn book_seat(_cx: Cx, hold: Hold) -> Result<Seat, StepError> {
    Ok(Seat(u32::try_from(hold.0.len())?))
}

async fn cancel_seat(_cx: Cx, _attempt: Attempt<Seat>, _hold: Hold) -> Result<(), UndoError> {
    Ok(())
}

async fn charge(cx: Cx, (hold, seat): (Hold, Seat)) -> Result<Receipt, StepError> {
    Ok(Receipt(format!("{} {} {}", hold.0, seat.0, cx.key())))
}

async fn send(_cx: Cx, _receipt: Receipt) -> Result<(), StepError> {
    Ok(())
}

fn trip() -> Result<Saga<Services, TripRequest, Receipt>, backstay_saga::BuildError> {
    let trip = Saga::builder("book-trip", Version(1));
    let hold = trip.step("hold", hold_room).undo(release_room);
    let seat = trip.step("seat", book_seat).needs(hold).undo(cancel_seat);
    let paid = trip.step("charge", charge).needs((hold, seat)).pivot();
    trip.step("email", send).needs(paid).until_done();
    trip.build(paid)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let trip = trip()?;
    std::io::stdout().write_all(trip.graph().mermaid().as_bytes())?;
    Ok(())
}
