-- | The snippets of the Geo-Distributed mode's document as it prints them, imports and indentation
-- aside: @snippets server@ runs the first, @snippets client@ the others.
module Main (main) where

import Control.Concurrent
import Control.Monad (forever)
import Data.Time.Clock (UTCTime, getCurrentTime)
import Network.Socket (SockAddr (..), tupleToHostAddress)
import Network.TBQuic
import System.Environment (getArgs)
import System.IO

startingAServer :: QuicActor -> PubKey -> IO QuicServer
startingAServer serverActor pubKey = do
  -- Create a QUIC configuration
  let config = defaultQuicConfig {
        qcBindAddress = SockAddrInet 8443 (tupleToHostAddress (127, 0, 0, 1)),
        qcBindPort = 8443,
        qcNetworkMode = ServerMode
      }

  -- Start the QUIC server
  server <- startQuicServer config serverActor pubKey

  pure server

connectingToAPeer :: QuicServer -> UTCTime -> IO ()
connectingToAPeer server now = do
  -- Connect to a peer
  conn <- connectToQuicPeer server (SockAddrInet 8443 (tupleToHostAddress (127, 0, 0, 1)))

  -- Send a message
  sendQuicMessage server conn (QuicPing now)

broadcastingAMessage :: QuicServer -> IO ()
broadcastingAMessage server = do
  -- Broadcast a message to all peers
  broadcastQuicMessage server (QuicDiscover)

main :: IO ()
main = do
  hSetBuffering stdout LineBuffering
  [mode] <- getArgs
  told <- newChan
  let actor = quietActor { actorHandle = \_ event -> Take <$ writeChan told event }
  case mode of
    "server" -> do
      _ <- startingAServer actor AnyKey
      putStrLn "ready"
      forever (readChan told >>= tell)
    _ -> withQuicServer defaultQuicConfig { qcBindPort = 0 } actor AnyKey $ \server -> do
      now <- getCurrentTime
      connectingToAPeer server now
      broadcastingAMessage server
      -- Both come, in any order
      let wait ponged counted
            | ponged && counted = pure ()
            | otherwise = readChan told >>= \event -> tell event >> case event of
                Ponged {} -> wait True counted
                Broadcasted {} -> wait ponged True
                _ -> wait ponged counted
      wait False False
  where
    tell event = case event of
      Connected {} -> putStrLn "connected"
      Ponged {} -> putStrLn "pong"
      Broadcasted _ counts -> putStrLn ("broadcast " ++ show counts)
      _ -> pure ()
