//! MQTT 3.1.1.
//!
//! The client forgets unacknowledged messages when it reconnects to a broker that has forgotten the session (as one that
//! was restarted has). So each connection here is a client of its own with a clean session, and the backlog keeps what was
//! not acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Outgoing, Packet, QoS,
    TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::backlog::{Backlog, Message};
use super::link::{Link, LinkError, SILENCE, Told};
use super::settings::Plan;

/// So many messages are on their way at once. Brokers keep each that is in the four-way exchange of quality 2, and throw
/// out who has more of them under way than they like (mosquitto: 20).
const fn window(qos: QoS) -> u16 {
    match qos {
        QoS::ExactlyOnce => 16,
        QoS::AtLeastOnce | QoS::AtMostOnce => 64,
    }
}

/// The largest that the protocol has.
const MAX_PACKET: usize = 268_435_455;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug)]
enum Happened {
    Sent(u16),
    Acknowledged(u16),
    Failed(ConnectionError),
}

/// The client's own loop runs in a task, since it must not be stopped half-way.
pub(super) struct Mqtt {
    client: AsyncClient,
    topic: String,
    qos: QoS,
    happened: mpsc::UnboundedReceiver<Happened>,
    task: JoinHandle<()>,
}

impl Drop for Mqtt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn options(plan: &Plan) -> MqttOptions {
    let (host, port) = &plan.target.brokers[0];
    let mut options = MqttOptions::new(&plan.client_id, host, *port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_session(true).set_inflight(window(plan.qos));
    options.set_max_packet_size(1 << 16, MAX_PACKET);
    if let Some((user, password)) = &plan.login {
        options.set_credentials(user, &password.0);
    }
    if let Some(tls) = &plan.tls {
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.clone())));
    }
    options
}

async fn follow(mut events: EventLoop, happened: mpsc::UnboundedSender<Happened>, qos: QoS) {
    loop {
        let told = match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(id))) => happened.send(Happened::Sent(id)),
            Ok(Event::Incoming(Packet::PubAck(ack))) if qos == QoS::AtLeastOnce => {
                happened.send(Happened::Acknowledged(ack.pkid))
            }
            Ok(Event::Incoming(Packet::PubComp(done))) => happened.send(Happened::Acknowledged(done.pkid)),
            Ok(_) => Ok(()),
            Err(error) => {
                // Nobody listens any more where this fails.
                let _ = happened.send(Happened::Failed(error));
                return;
            }
        };
        if told.is_err() {
            return;
        }
    }
}

impl Mqtt {
    async fn next(&mut self) -> Result<Happened, LinkError> {
        match self.happened.recv().await {
            Some(Happened::Failed(error)) => Err(LinkError::Mqtt(Box::new(error))),
            Some(happened) => Ok(happened),
            None => Err(LinkError::Closed),
        }
    }
}

impl Link for Mqtt {
    async fn connect(plan: &Plan) -> Result<Self, LinkError> {
        let (client, mut events) = AsyncClient::new(options(plan), window(plan.qos).into());
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(SILENCE.as_secs());
        events.set_network_options(network);
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => break,
                Ok(_) => {}
                Err(error) => return Err(LinkError::Mqtt(Box::new(error))),
            }
        }
        let (tell, happened) = mpsc::unbounded_channel();
        let task = tokio::spawn(follow(events, tell, plan.qos));
        Ok(Self { client, topic: plan.topic.clone(), qos: plan.qos, happened, task })
    }

    async fn deliver(&mut self, batch: &[Message], backlog: &Backlog, tell: &dyn Fn(Told)) -> Result<(), LinkError> {
        for batch in batch.chunks(window(self.qos).into()) {
            for message in batch {
                let sent = self.client.publish_bytes(&self.topic, self.qos, false, message.payload.clone());
                sent.await.map_err(|_| LinkError::Closed)?;
            }
            let mut left = batch.len();
            // Those that were sent, and whether the broker has them. Brokers acknowledge in order, or should.
            let mut sent: VecDeque<(u16, bool)> = VecDeque::new();
            while left > 0 {
                match timeout(SILENCE, self.next()).await.map_err(|_| LinkError::Silent)?? {
                    Happened::Sent(id) => sent.push_back((id, self.qos == QoS::AtMostOnce)),
                    Happened::Acknowledged(id) => {
                        if let Some((_, done)) = sent.iter_mut().find(|(other, _)| *other == id) {
                            *done = true;
                        }
                    }
                    Happened::Failed(error) => return Err(LinkError::Mqtt(Box::new(error))),
                }
                while sent.pop_front_if(|(_, done)| *done).is_some() {
                    left -= 1;
                    if backlog.confirm(1) {
                        tell(Told::BurstOver);
                    }
                }
            }
        }
        Ok(())
    }

    async fn idle(&mut self) -> LinkError {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }

    async fn close(mut self) {
        if self.client.disconnect().await.is_ok() {
            // The broker closes the connection upon that.
            self.idle().await;
        }
    }
}
